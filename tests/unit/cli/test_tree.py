"""The drawing of the DAG."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runyard.cli.tree import MAX_DEPTH, ordered


def drawn(parents: dict[str, list[str]]) -> list[str]:
    return [mark + name for name, mark in ordered(parents)]


def test_children_stand_beneath_their_parent() -> None:
    """Branches are drawn in the order of the spec, the last one with a corner."""
    assert drawn({"a": [], "b": ["a"], "c": ["a"], "d": ["b"], "e": []}) == [
        "a",
        "├─ b",
        "│  └─ d",
        "└─ c",
        "e",
    ]


def test_a_join_stands_beneath_its_deepest_parent() -> None:
    """A task with several parents comes once, after the one that ends the longest path."""
    assert drawn({"a": [], "b": ["a"], "join": ["b", "x"], "x": []}) == [
        "a",
        "└─ b",
        "   └─ join",
        "x",
    ]


def test_a_long_chain_goes_straight_down() -> None:
    """A chain deeper than the limit keeps its indentation."""
    names = [f"t{number}" for number in range(20)]
    parents = {name: names[at - 1 : at] if at else [] for at, name in enumerate(names)}
    assert drawn(parents) == ["t0", *(f"↓ {name}" for name in names[1:])]


def test_deep_branches_stop_moving_right() -> None:
    """Marks never take more room than the limit, however deep the tree."""
    parents: dict[str, list[str]] = {"n0": []}
    for level in range(1, 30):
        parents[f"n{level}"] = [f"n{level - 1}"]
        parents[f"side{level}"] = [f"n{level - 1}"]
    assert max(len(mark) for _, mark in ordered(parents)) <= 3 * (MAX_DEPTH + 1)


@given(st.data())
def test_every_task_is_drawn_once_whatever_the_edges(data: st.DataObject) -> None:
    """Cycles, self-edges and unknown parents lose and double no task."""
    names = [f"t{number}" for number in range(data.draw(st.integers(1, 12)))]
    parents = {
        name: data.draw(st.lists(st.sampled_from([*names, "unknown"]), max_size=4))
        for name in names
    }
    assert sorted(name for name, _ in ordered(parents)) == sorted(names)


@given(st.data())
def test_parents_of_a_dag_come_before_their_children_in_each_branch(data: st.DataObject) -> None:
    """A task is drawn after the parent it stands beneath."""
    names = [f"t{number}" for number in range(data.draw(st.integers(1, 12)))]
    parents = {
        name: data.draw(st.lists(st.sampled_from(names[:at]), max_size=3)) if at else []
        for at, name in enumerate(names)
    }
    order = [name for name, _ in ordered(parents)]
    for name, after in parents.items():
        if after:
            assert min(order.index(each) for each in after) < order.index(name)
