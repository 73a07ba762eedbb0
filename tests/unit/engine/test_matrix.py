"""A matrix: its members, how many run at once, and what its edges mean."""

from __future__ import annotations

from typing import Any

import pytest

from runyard.api import UnitPhase
from runyard_operator.engine import slots
from runyard_operator.engine.check import InvalidSpecError
from runyard_operator.engine.experiment import plan
from tests.unit.engine.builders import NOW, experiment, layout_of, made, task, told
from tests.unit.engine.rounds import Rounds

RUNNING, SUCCEEDED, FAILED = UnitPhase.RUNNING, UnitPhase.SUCCEEDED, UnitPhase.FAILED
CANCELLED, SKIPPED = UnitPhase.CANCELLED, UnitPhase.SKIPPED
THREE = {"parameters": {"seed": ["1", "2", "3"]}}


def members(**matrix: Any) -> list[dict[str, str]]:
    """The values of every member."""
    found = layout_of(experiment(task("m", matrix=matrix))).tasks["m"].members
    assert found is not None
    return [dict(each) for each in found]


def test_members_are_all_combinations_in_the_order_of_names() -> None:
    """Whatever order they are read in, an index means the same for ever."""
    assert members(parameters={"b": ["1", "2"], "a": ["x", "y"]}) == [
        {"a": "x", "b": "1"},
        {"a": "x", "b": "2"},
        {"a": "y", "b": "1"},
        {"a": "y", "b": "2"},
    ]


def test_exclude_leaves_out_what_has_all_its_values() -> None:
    """One value excludes a whole row, two a single member."""
    parameters = {"a": ["1", "2", "3"], "b": ["x", "y"]}
    left = members(parameters=parameters, exclude=[{"a": "1"}, {"a": "2", "b": "y"}])
    assert [each["a"] + each["b"] for each in left] == ["2x", "3x", "3y"]


def test_include_adds_members_after_exclude() -> None:
    """Further members come last; one that is there already is not there twice."""
    found = members(
        parameters={"a": ["1", "2"]}, exclude=[{"a": "1"}], include=[{"a": x} for x in "192"]
    )
    assert [each["a"] for each in found] == ["2", "1", "9"]


def test_a_matrix_may_be_written_member_by_member() -> None:
    """With `include` alone the first member says which values there are."""
    found = members(include=[{"lr": "1", "wd": "0"}, {"wd": "1", "lr": "2"}])
    assert [each["lr"] for each in found] == ["1", "2"]


REFUSED = [
    ({"parameters": {"a": ["1"]}, "exclude": [{"a": "1"}]}, "has no member: exclude fewer"),
    (
        {"parameters": {"a": ["1"]}, "include": [{"b": "1"}]},
        r"include\[0\] must have a value for each of a, and no other",
    ),
    ({"include": [{"a": "1"}, {}]}, r"include\[1\] must have a value for each of a"),
    (
        {"parameters": {"a": ["1"]}, "exclude": [{"b": "1"}]},
        r"exclude\[0\] names 'b', which is not one of its parameters",
    ),
    (
        {"parameters": {name: [str(n) for n in range(101)] for name in "ab"}},
        "has 10201 combinations, more than the 10000 that fit",
    ),
]


@pytest.mark.parametrize(("matrix", "message"), REFUSED, ids=[row[1] for row in REFUSED])
@pytest.mark.parametrize("final", [False, True], ids=["tasks", "finally"])
def test_a_matrix_that_cannot_be_is_refused_with_its_path(
    matrix: dict[str, Any], message: str, final: bool
) -> None:
    """Before anything is made."""
    mine = task("m", matrix=matrix)
    tasks = (task("a"),) if final else (mine,)
    spec = experiment(*tasks, last=[mine] if final else []).spec
    with pytest.raises(InvalidSpecError, match=message) as error:
        slots.layout("exp", spec)
    assert str(error.value).startswith(f"{'finally' if final else 'tasks'}[m].matrix")


def test_more_than_ten_thousand_units_are_refused() -> None:
    """All matrices and plain tasks of an experiment count together."""
    half = {"parameters": {"a": [str(n) for n in range(5000)]}}
    pair = (task("m", matrix=half), task("n", matrix=half))
    assert layout_of(experiment(*pair)).size == 10_000
    status = plan(experiment(*pair, task("one")), NOW).status
    assert (status.phase, status.reason) == ("Failed", "InvalidSpec")
    assert "has 10001 tasks and matrix members together" in (status.message or "")


def test_names_that_meet_are_refused() -> None:
    """Member 1 of `a-b` and the task `a-b-1` would need one name."""
    status = plan(experiment(task("a-b", matrix=THREE), task("a-b-1")), NOW).status
    assert status.reason == "InvalidSpec"
    assert (status.message or "").startswith("a-b[1] and a-b-1 would both need an ExecutionUnit")


def test_members_are_named_and_numbered() -> None:
    """The unit's name and spec tell which member it is."""
    rounds = Rounds(experiment(task("m", matrix=THREE)))
    assert rounds.settle() == {"m[0]": "create", "m[1]": "create", "m[2]": "create"}
    assert sorted(unit.name for unit in rounds.view.units.values()) == [
        "exp-m-0",
        "exp-m-1",
        "exp-m-2",
    ]
    member = rounds.specs["m[1]"].member
    assert member is not None
    assert (member.index, member.values) == (1, {"seed": "2"})


ENDS = [
    # how the members ended, which edges on the matrix are met
    ((SUCCEEDED, SUCCEEDED, SUCCEEDED), {"Succeeded", "Finished"}),
    ((SUCCEEDED, SKIPPED, SUCCEEDED), {"Succeeded", "Finished"}),
    ((SUCCEEDED, FAILED, SUCCEEDED), {"Failed", "Finished"}),
    ((CANCELLED, FAILED, SUCCEEDED), {"Failed", "Finished"}),
    ((CANCELLED, SUCCEEDED, SUCCEEDED), {"Finished"}),
    ((SKIPPED, SKIPPED, SKIPPED), {"Finished"}),
]


@pytest.mark.parametrize(("ended", "met"), ENDS, ids=str)
def test_edges_on_a_matrix(ended: tuple[UnitPhase, ...], met: set[str]) -> None:
    """Succeeded when all members are, the Skipped aside; Failed when any is."""
    children = [task(when.lower(), f"m:{when}") for when in ("Succeeded", "Failed", "Finished")]
    view = made(experiment(task("m", matrix=THREE), *children, failurePolicy="Continue"), m=ended)
    expected = {
        each.name: "create" if each.after[0].when in met else "skip:DependencyNotMet"
        for each in children
    }
    assert told(plan(view, NOW)) == expected


@pytest.mark.parametrize("lost", [FAILED, CANCELLED])
def test_a_member_that_was_lost_decides_before_the_others_end(lost: UnitPhase) -> None:
    """A `Succeeded` edge can no longer be met; `Failed` and `Finished` wait for all members."""
    children = [task(when.lower(), f"m:{when}") for when in ("Succeeded", "Failed", "Finished")]
    view = made(
        experiment(task("m", matrix=THREE), *children, failurePolicy="Continue"),
        m=(lost, RUNNING, RUNNING),
    )
    assert told(plan(view, NOW)) == {"succeeded": "skip:DependencyNotMet"}


def test_a_failed_member_stops_the_others_under_fail_fast() -> None:
    """Running members are cancelled, those that are not made are skipped, without a unit."""
    rounds = Rounds(experiment(task("m", matrix={**THREE, "maxParallel": 2}), task("b", "m")))
    rounds.settle()
    rounds.end(FAILED, "m[0]")
    assert rounds.settle() == {"exp-m-1": "cancel", "b": "skip:DependencyNotMet"}
    assert rounds.states == {"m": "FCK", "b": "K"}
    assert rounds.phase == "Failed"
    assert {each.name: each.reason for each in rounds.view.status.skipped_tasks} == {
        "m": "FailFast",
        "b": "DependencyNotMet",
    }


def test_a_failed_member_leaves_the_others_alone_under_continue() -> None:
    """They run to their end, and the experiment fails with the member's name."""
    rounds = Rounds(experiment(task("m", matrix=THREE), failurePolicy="Continue"))
    rounds.settle()
    rounds.end(FAILED, "m[1]")
    assert rounds.settle() == {}
    rounds.end()
    rounds.settle()
    assert (rounds.phase, rounds.view.status.message) == ("Failed", "failed: m[1]")


@pytest.mark.parametrize(("own", "whole", "at_once"), [(2, None, 2), (3, 2, 2), (1, 2, 1)])
def test_the_stricter_max_parallel_counts(own: int, whole: int | None, at_once: int) -> None:
    """A matrix has its own limit, and the experiment's is above it."""
    spec: dict[str, Any] = {"maxParallel": whole} if whole else {}
    rounds = Rounds(experiment(task("m", matrix={**THREE, "maxParallel": own}), **spec))
    most = 0
    while rounds.phase != "Succeeded":
        rounds.settle()
        most = max(most, len(rounds.running()))
        rounds.end(SUCCEEDED, *sorted(rounds.running())[:1])
    assert most == at_once
