"""The order of tasks, and cycles."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.api import Task
from runyard_operator.engine import graph
from runyard_operator.engine.check import InvalidSpecError
from tests.unit.engine.builders import task


@st.composite
def edges(draw: st.DrawFn) -> list[Task]:
    """Tasks with any edges between them, self-edges and cycles included."""
    names = [f"t{n}" for n in range(draw(st.integers(1, 7)))]
    return [
        task(name, *draw(st.lists(st.sampled_from(names), unique=True, max_size=3)))
        for name in draw(st.permutations(names))
    ]


@given(edges())
def test_tasks_come_after_their_parents_or_a_cycle_is_named(tasks: list[Task]) -> None:
    """Every graph has either an order or a cycle, and each is what it claims to be."""
    try:
        ordered = graph.in_order(tasks)
    except InvalidSpecError as error:
        cycle = str(error).split(": ")[1].split(".")[0].split(" -> ")
        parents = {each.name: {edge.task for edge in each.after} for each in tasks}
        assert cycle[0] == cycle[-1]
        assert len(cycle) > 1
        assert all(b in parents[a] for a, b in pairwise(cycle))
        return
    names = [each.name for each in ordered]
    assert sorted(names) == sorted(each.name for each in tasks)
    for each in ordered:
        assert all(names.index(edge.task) < names.index(each.name) for edge in each.after)


def test_independent_tasks_keep_the_order_of_the_spec() -> None:
    """Nothing is sorted that needs no sorting."""
    names = ["z", "a", "m"]
    assert [each.name for each in graph.in_order(task(name) for name in names)] == names


def test_a_self_edge_is_a_cycle_of_one() -> None:
    """The message shows it as such."""
    with pytest.raises(InvalidSpecError, match="cycle: a -> a"):
        graph.in_order([task("a", "a")])
