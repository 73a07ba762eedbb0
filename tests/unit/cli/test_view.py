"""What the table says, from the objects."""

from __future__ import annotations

from runyard.cli.view import build, summaries
from tests.unit.cli.objects import NOW, experiment, stamp, unit

CHAIN: dict[str, list[str]] = {"prepare": [], "train": ["prepare"], "evaluate": ["train"]}


def test_a_task_without_a_unit_is_pending_and_says_what_it_waits_for() -> None:
    """Before the operator acts, every task is there."""
    rows = build(experiment(CHAIN), [], NOW).rows
    assert [(row.task, row.phase, row.reason) for row in rows] == [
        ("prepare", "Pending", ""),
        ("train", "Pending", "after prepare"),
        ("evaluate", "Pending", "after train"),
    ]


def test_only_parents_that_have_not_ended_are_waited_for() -> None:
    """A parent that is done is no longer named."""
    units = [unit("a", phase="Succeeded"), unit("b", phase="Running")]
    rows = build(experiment({"a": [], "b": [], "c": ["a", "b"]}), units, NOW).rows
    assert {row.task: row.reason for row in rows}["c"] == "after b"


def test_a_unit_that_runs_gets_older_and_one_that_ended_does_not() -> None:
    """Durations of running tasks count to now, those of others to their end."""
    units = [
        unit("prepare", phase="Succeeded", startTime=stamp(90), completionTime=stamp(60)),
        unit("train", phase="Running", startTime=stamp(50)),
    ]
    view = build(experiment(CHAIN, phase="Running", startTime=stamp(100)), units, NOW)
    assert [(row.duration, row.age) for row in view.rows] == [
        ("30s", "10m"),
        ("50s", "10m"),
        ("", ""),
    ]
    assert view.elapsed == "1m40s"


def test_a_unit_of_a_deleted_experiment_of_the_same_name_is_not_shown() -> None:
    """Only units whose owner is this very experiment count."""
    view = build(experiment(CHAIN), [unit("prepare", owner="uid-0", phase="Failed")], NOW)
    assert view.rows[0].phase == "Pending"


def test_tasks_that_never_came_to_be_are_not_pending_for_ever() -> None:
    """Once the experiment has ended, a task without a unit has no phase."""
    view = build(experiment(CHAIN, phase="Failed", reason="InvalidGraph"), [], NOW)
    assert {row.phase for row in view.rows} == {"-"}
    assert view.ended


def test_a_failed_task_is_told_with_all_that_is_known() -> None:
    """Reason, message, exit code, node and last lines come from the last attempt."""
    attempts = [
        {"number": 1, "key": "a", "exitCode": 1},
        {"number": 2, "key": "b", "exitCode": 3, "node": "node1", "lastLogLines": ["boom"]},
    ]
    failed = unit("train", phase="Failed", reason="Error", message="exit code 3", attempts=attempts)
    view = build(experiment(CHAIN), [failed], NOW)
    (problem,) = view.problems
    assert (problem.task, problem.reason, problem.exit_code) == ("train", "Error", 3)
    assert (problem.node, problem.log_lines) == ("node1", ("boom",))
    assert view.rows[1].reason == "Error, attempt 2"


def test_a_unit_that_is_stuck_is_told_with_the_condition() -> None:
    """A stalled or unreachable backend shows although the task has not failed."""
    condition = {
        "type": "Stalled",
        "status": "True",
        "reason": "NameConflict",
        "message": "a Job of that name is not ours: delete it",
    }
    view = build(
        experiment(CHAIN), [unit("prepare", phase="Submitting", conditions=[condition])], NOW
    )
    (problem,) = view.problems
    assert (problem.phase, problem.reason) == ("Submitting", "NameConflict")
    assert problem.message == "a Job of that name is not ours: delete it"


def test_the_executor_names_its_nodes() -> None:
    """The merged executor of the unit counts, not what the task alone says."""
    trainer = unit("train", executor={"trainJob": {"numNodes": 4}})
    rows = build(experiment(CHAIN, executor={"trainJob": {}}), [trainer], NOW).rows
    assert [row.executor for row in rows] == ["trainJob", "trainJob x4", "trainJob"]


def test_outputs_are_named_after_their_tasks() -> None:
    """Outputs come in the order of the tasks."""
    units = [unit("prepare", phase="Succeeded", outputs=[{"name": "rows", "value": "12"}])]
    assert build(experiment(CHAIN), units, NOW).outputs == (("prepare.rows", "12"),)


def test_a_reason_that_repeats_the_phase_is_left_out() -> None:
    """Running because of Running tells nothing."""
    units = [unit("prepare", phase="Running", reason="Running")]
    assert build(experiment(CHAIN), units, NOW).rows[0].reason == ""


def test_the_list_sums_each_experiment_up() -> None:
    """One row for each: phase, progress, reason, age and duration."""
    running = experiment(CHAIN, phase="Running", progress="1/3", startTime=stamp(75))
    assert summaries([running, experiment({"a": []}, name="new")], NOW) == [
        ["team-a", "sft", "Running", "1/3", "", "10m", "1m15s"],
        ["team-a", "new", "Pending", "0/1", "", "10m", ""],
    ]


def test_an_experiment_that_is_being_deleted_says_so() -> None:
    """Its tasks whose units have gone already are not shown as if they were still to come."""
    item = experiment(CHAIN, phase="Running")
    item["metadata"]["deletionTimestamp"] = stamp(5)
    view = build(item, [unit("train", phase="Cancelling")], NOW)
    assert view.deleting
    assert [row.phase for row in view.rows] == ["-", "Cancelling", "-"]
    assert summaries([item], NOW)[0][4] == "being deleted"
