"""Tasks without units, matrices, gates: what the table says of units that are made lazily."""

from __future__ import annotations

from typing import Any

import pytest

from runyard.cli.rows import MAX_MEMBERS, Row
from runyard.cli.slots import selectors
from runyard.cli.view import View, build
from tests.unit.cli.objects import NOW, experiment, member, stamp, unit


def rows(view: View) -> dict[str, Row]:
    """The rows by task."""
    return {row.task: row for row in view.rows}


def record(**states: str) -> list[dict[str, str]]:
    """The experiment's record of its tasks."""
    return [{"name": name, "states": each} for name, each in states.items()]


def matrix(made: dict[str, Any], task: str = "sweep") -> dict[str, Any]:
    """The experiment with a matrix in place of a plain task."""
    for each in made["spec"]["tasks"]:
        if each["name"] == task:
            each["matrix"] = {"parameters": {"lr": ["1"]}}
    return made


def test_the_record_tells_of_units_that_are_gone() -> None:
    """And it is final, whatever an older list of units says."""
    made = experiment({"a": [], "b": []}, phase="Running", tasks=record(a="S", b="F"))
    view = build(made, [unit("b", phase="Running")], NOW)
    assert {name: row.phase for name, row in rows(view).items()} == {
        "a": "Succeeded",
        "b": "Failed",
    }
    assert view.progress == "2/2"


def test_what_was_never_made_in_an_ended_experiment_has_no_phase() -> None:
    """It is not pending for ever."""
    made = experiment({"a": [], "b": []}, phase="Failed", tasks=record(a="F", b="."))
    assert rows(build(made, [], NOW))["b"].phase == "-"


@pytest.mark.parametrize(
    ("spec", "task", "said"),
    [
        ({}, {}, "after a, b"),
        ({}, {"afterPolicy": "Any"}, "after any of a, b"),
        ({}, {"approval": {}}, "after a, b"),
        ({"suspend": True}, {}, "suspended, after a, b"),
        ({"suspendTasks": ["c"]}, {}, "suspended, after a, b"),
        ({"suspendTasks": ["a"]}, {}, "after a, b"),
        ({"maxParallel": 2}, {}, "after a, b"),
    ],
)
def test_a_task_says_what_it_waits_for(
    spec: dict[str, Any], task: dict[str, Any], said: str
) -> None:
    """Its edges first: an approval counts only once they are met."""
    made = experiment({"a": [], "b": [], "c": ["a", "b"]}, tasks=record(a="+", b="+", c="."))
    made["spec"] |= spec
    made["spec"]["tasks"][2] |= task
    view = build(made, [unit("a", phase="Running"), unit("b", phase="Running")], NOW)
    assert rows(view)["c"].reason == said
    assert view.approvals == ()


def test_max_parallel_is_told_when_it_is_used_up() -> None:
    """One unit is on its way, and one may be."""
    made = experiment({"a": [], "b": []}, tasks=record(a="+", b="."))
    made["spec"]["maxParallel"] = 1
    assert rows(build(made, [unit("a", phase="Waiting")], NOW))["b"].reason == "maxParallel 1"
    made["spec"]["maxParallel"] = 2
    assert rows(build(made, [unit("a", phase="Waiting")], NOW))["b"].reason == ""


def test_a_task_that_waits_for_a_person_says_so_until_there_is_a_verdict() -> None:
    """With what the approver should look at."""
    made = experiment({"a": [], "b": ["a"]}, tasks=record(a="S", b="."))
    made["spec"]["tasks"][1]["approval"] = {"message": "look"}
    view = build(made, [], NOW)
    assert view.approvals == (("b", "look"),)
    assert rows(view)["b"].reason == "waits for approval"
    made["spec"]["approvals"] = [{"task": "b", "verdict": "Approve"}]
    view = build(made, [], NOW)
    assert (view.approvals, rows(view)["b"].reason) == ((), "")


def test_tasks_of_finally_come_last_and_wait_for_all_others() -> None:
    """They are no part of the tree."""
    made = experiment({"a": []}, tasks=record(a="+", z="."))
    made["spec"]["finally"] = [{"name": "z", "executor": {"job": {}}}]
    view = build(made, [unit("a", phase="Running")], NOW)
    assert [(row.task, row.final, row.reason) for row in view.rows] == [
        ("a", False, ""),
        ("z", True, "after all tasks"),
    ]
    made["status"]["tasks"] = record(a="S", z=".")
    assert rows(build(made, [], NOW))["z"].reason == ""


def test_a_retry_says_when_and_why() -> None:
    """The steady part has no countdown: followers print it once."""
    attempts = [{"number": 1, "key": "k", "failureClass": "NodeFailure"}]
    made = experiment({"a": []}, tasks=record(a="+"))
    waiting = unit("a", phase="Queued", attempts=attempts, nextAttemptTime=stamp(-40))
    row = rows(build(made, [waiting], NOW))["a"]
    assert row.reason == "attempt 2, next in 40s: NodeFailure"
    assert row.steady == "attempt 2 next: NodeFailure"
    due = unit("a", phase="Queued", attempts=attempts, nextAttemptTime=stamp(5))
    assert rows(build(made, [due], NOW))["a"].reason == "attempt 2, is due: NodeFailure"


def test_a_result_that_was_taken_over_says_from_where() -> None:
    """Nothing ran for it."""
    made = experiment({"a": []}, tasks=record(a="S"))
    adopted = unit("a", phase="Succeeded", reason="Adopted")
    adopted["spec"]["adopted"] = {"experiment": "sft-old", "unit": "sft-old-a", "uid": "u"}
    assert rows(build(made, [adopted], NOW))["a"].reason == "adopted from sft-old"


@pytest.mark.parametrize(
    ("states", "phases", "phase"),
    [
        ("..", {}, "Pending"),
        ("S+", {1: "Running"}, "Running"),
        ("F+", {1: "Waiting"}, "Waiting"),
        ("S.", {}, "Pending"),
        ("SF", {}, "Failed"),
        ("SC", {}, "Cancelled"),
        ("SK", {}, "Succeeded"),
        ("KK", {}, "Skipped"),
    ],
)
def test_a_matrix_has_one_phase(states: str, phases: dict[int, str], phase: str) -> None:
    """That of what goes on in it, else how it ended."""
    units = [member("sweep", index, {}, phase=each) for index, each in phases.items()]
    made = matrix(experiment({"sweep": []}, tasks=record(sweep=states)))
    assert rows(build(made, units, NOW))["sweep"].phase == phase


def test_a_matrix_is_one_row_with_counts() -> None:
    """Units that were not listed count by the record."""
    made = matrix(experiment({"sweep": []}, tasks=record(sweep="SSSFF+++..")))
    units = [member("sweep", index, {}, phase="Running") for index in (5, 6)]
    view = build(made, units, NOW)
    (row,) = view.rows
    assert row.reason == "5/10  2✗ 2● 1◌ 2○ 3✓"
    assert row.steady == "2 failed"


def test_of_ten_thousand_members_those_that_tell_most_are_shown() -> None:
    """Failed ones, running ones, and how many others there are."""
    states = "S" * 9000 + "F" + "+" * 2 + "." * 997
    made = matrix(experiment({"sweep": []}, tasks=record(sweep=states)))
    units = [member("sweep", 9000, {"lr": "3"}, phase="Failed", reason="Error")]
    units += [member("sweep", index, {"lr": "2"}, phase="Running") for index in (9001, 9002)]
    shown = build(made, units, NOW, members=True).rows
    assert [(row.task, row.reason) for row in shown[1:4]] == [
        ("sweep[9000]", "Error  lr=3"),
        ("sweep[9001]", "lr=2"),
        ("sweep[9002]", "lr=2"),
    ]
    assert len(shown) == 1 + MAX_MEMBERS + 1
    assert shown[-1].task == f"{10_000 - MAX_MEMBERS} more"
    assert len(build(made, units, NOW).rows) == 1


def test_skipped_tasks_say_why_from_their_unit_or_the_experiment() -> None:
    """A member of a matrix that was skipped has no unit."""
    listed = [{"name": "sweep[1]", "reason": "FailFast", "message": "a failed"}]
    made = matrix(
        experiment({"b": [], "sweep": []}, tasks=record(b="K", sweep="SK"), skippedTasks=listed)
    )
    skipped = unit("b", phase="Skipped", reason="DependencyNotMet", message="a ended Failed")
    assert build(made, [skipped], NOW).skipped == (
        ("sweep[1]", "FailFast", "a failed"),
        ("b", "DependencyNotMet", "a ended Failed"),
    )


def test_failures_are_told_also_where_the_unit_is_not_listed() -> None:
    """The experiment's own list names the first ones."""
    listed = [{"name": "sweep[7]", "reason": "Error", "message": "exit code 1"}]
    made = matrix(experiment({"sweep": []}, tasks=record(sweep="."), failedTasks=listed))
    (problem,) = build(made, [], NOW).problems
    assert (problem.task, problem.reason, problem.message) == ("sweep[7]", "Error", "exit code 1")


def test_members_that_have_ended_well_are_not_asked_for() -> None:
    """Of a large matrix they would be thousands; an experiment without one needs one request."""
    assert selectors("sft", matrix=False) == {
        "units": {"labelSelector": "runyard.dev/experiment=sft"}
    }
    asked = selectors("sft", matrix=True)
    assert asked["units"]["labelSelector"].endswith(",!runyard.dev/member")
    assert "status.phase!=Succeeded" in asked["members"]["fieldSelector"]
    assert "Failed" not in asked["members"]["fieldSelector"]
