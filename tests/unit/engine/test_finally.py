"""Tasks of `finally`: when they start, what they see, and what they do to the result."""

from __future__ import annotations

from typing import Any

import pytest

from runyard.api import UnitPhase
from runyard_operator.engine.experiment import ExperimentView, plan
from tests.unit.engine.builders import NOW, experiment, task
from tests.unit.engine.rounds import Rounds

SUCCEEDED, FAILED = UnitPhase.SUCCEEDED, UnitPhase.FAILED
CANCELLED = UnitPhase.CANCELLED
SEES = {
    "HOW": "${experiment.phase}",
    "COUNTS": "${experiment.counts.succeeded}/${experiment.counts.failed}"
    "/${experiment.counts.cancelled}/${experiment.counts.skipped}/${experiment.counts.total}",
    "A": "${tasks.a.phase}",
    "ROWS": "<${tasks.a.outputs.rows}>",
    "ALL": "${tasks.m.outputs.loss}",
}
A = task("a", outputs=[{"name": "rows"}])
B = task("b", "a")
M = task("m", outputs=[{"name": "loss"}], matrix={"parameters": {"s": ["1", "2"]}})


def whole(**spec: Any) -> ExperimentView:
    """Three tasks, and one at the end that asks for everything."""
    env = [{"name": name, "value": value} for name, value in SEES.items()]
    last = task("last", env=env).to_dict()
    return experiment(A, B, M, **{"finally": [last], **spec})


def seen(rounds: Rounds) -> dict[str, str | None]:
    """The environment of the last task."""
    return {each.name: each.value for each in rounds.specs["last"].env}


def test_it_starts_when_every_task_has_ended() -> None:
    """Not before the last one, and it sees how all ended."""
    rounds = Rounds(whole())
    rounds.settle()
    rounds.end(SUCCEEDED, "a", rows="7")
    rounds.end(SUCCEEDED, "m[0]", loss="0.5")
    rounds.settle()
    rounds.end(SUCCEEDED, "b")
    assert rounds.settle() == {}
    rounds.end(SUCCEEDED, "m[1]", loss="0.1")
    assert rounds.settle() == {"last": "create"}
    assert seen(rounds) == {
        "HOW": "Succeeded",
        "COUNTS": "4/0/0/0/4",
        "A": "Succeeded",
        "ROWS": "<7>",
        "ALL": '["0.5", "0.1"]',
    }
    assert rounds.phase == "Running"
    rounds.end()
    rounds.settle()
    assert (rounds.phase, rounds.view.status.progress) == ("Succeeded", "5/5")


def test_it_runs_after_fail_fast() -> None:
    """What never ran has no outputs: they are empty."""
    rounds = Rounds(whole())
    rounds.settle()
    rounds.end(FAILED, "a")
    assert rounds.settle() == {
        "exp-m-0": "cancel",
        "exp-m-1": "cancel",
        "b": "skip:DependencyNotMet",
        "last": "create",
    }
    assert seen(rounds) == {
        "HOW": "Failed",
        "COUNTS": "0/1/2/1/4",
        "A": "Failed",
        "ROWS": "<>",
        "ALL": "[]",
    }
    rounds.end()
    rounds.settle()
    assert (rounds.phase, rounds.view.status.reason) == ("Failed", "TasksFailed")


def test_it_runs_on_cancel() -> None:
    """It is not cancelled with the others, and the experiment waits for it."""
    rounds = Rounds(whole())
    rounds.settle()
    rounds.edit(cancel=True)
    assert rounds.settle() == {
        "exp-a": "cancel",
        "exp-m-0": "cancel",
        "exp-m-1": "cancel",
        "last": "create",
    }
    assert (seen(rounds)["HOW"], seen(rounds)["COUNTS"]) == ("Cancelled", "0/0/4/0/4")
    assert rounds.running() == {"last"}
    rounds.end()
    rounds.settle()
    assert rounds.phase == "Cancelled"


def test_it_runs_after_the_deadline_and_is_not_counted_by_it() -> None:
    """However long it takes, it is not ended."""
    rounds = Rounds(whole(activeDeadlineSeconds=60))
    rounds.settle()
    rounds.wait(60)
    said = rounds.settle()
    assert (said["exp-a"], said["last"]) == ("cancel", "create")
    assert seen(rounds)["HOW"] == "Failed"
    rounds.wait(3600)
    assert rounds.settle() == {}
    rounds.end()
    rounds.settle()
    assert (rounds.phase, rounds.view.status.reason) == ("Failed", "DeadlineExceeded")


def test_the_deadline_stands_still_while_only_it_is_left() -> None:
    """A deadline that passes during `finally` changes nothing."""
    rounds = Rounds(whole(activeDeadlineSeconds=60))
    rounds.settle()
    rounds.end(SUCCEEDED, rows="1", loss="1")
    rounds.settle()
    rounds.end(SUCCEEDED, "b")
    rounds.settle()
    rounds.wait(3600)
    rounds.settle()
    rounds.end()
    rounds.settle()
    assert rounds.phase == "Succeeded"


def test_outputs_that_went_with_their_unit_are_empty() -> None:
    """It runs all the same: it may have to tidy up."""
    rounds = Rounds(whole())
    rounds.settle()
    rounds.end(SUCCEEDED, rows="1", loss="2")
    rounds.settle()
    rounds.lose("a")
    rounds.lose("m[0]")
    rounds.end()
    assert rounds.settle() == {"last": "create"}
    assert (seen(rounds)["ROWS"], seen(rounds)["ALL"]) == ("<>", '["2"]')


def test_its_failure_is_a_failure() -> None:
    """The experiment fails although all its tasks succeeded, and names it."""
    rounds = Rounds(experiment(task("a"), last=[task("z")]))
    rounds.settle()
    rounds.end()
    rounds.settle()
    rounds.end(FAILED)
    rounds.settle()
    assert (rounds.phase, rounds.view.status.message) == ("Failed", "failed: z")


def test_its_failure_stops_no_other_one_and_may_be_allowed() -> None:
    """FailFast is for the tasks of the graph."""
    last = [task("z", allowFailure=True), task("y")]
    rounds = Rounds(experiment(task("a"), last=last))
    rounds.settle()
    rounds.end()
    rounds.settle()
    rounds.end(FAILED, "z")
    assert rounds.settle() == {}
    rounds.end(SUCCEEDED, "y")
    rounds.settle()
    assert rounds.phase == "Succeeded"


def test_each_of_them_sees_the_same_result() -> None:
    """The failure of the first one is not the second one's news."""
    env = [{"name": "HOW", "value": "${experiment.phase}"}]
    last = [task("y"), task("z", env=env)]
    rounds = Rounds(experiment(task("a"), maxParallel=1, last=last))
    rounds.settle()
    rounds.end()
    assert rounds.settle() == {"y": "create"}
    rounds.end(FAILED)
    rounds.settle()
    assert rounds.specs["z"].env[0].value == "Succeeded"


def test_it_has_deadlines_of_its_own() -> None:
    """They are the unit's, as of every task."""
    deadlines = {"activeSeconds": 30, "queuedSeconds": 10}
    rounds = Rounds(experiment(task("a"), last=[task("z", deadlines=deadlines)]))
    rounds.settle()
    rounds.end()
    rounds.settle()
    found = rounds.specs["z"].deadlines
    assert found is not None
    assert (found.active_seconds, found.queued_seconds) == (30, 10)


@pytest.mark.parametrize(
    ("last", "reason", "message"),
    [
        (task("z", "a"), "InvalidGraph", "finally[z].after: tasks of 'finally' start together"),
        (task("a"), "InvalidSpec", "finally[a] has the name of another task"),
    ],
    ids=["edges", "name"],
)
def test_what_cannot_be_is_refused(last: Any, reason: str, message: str) -> None:
    """No edges among them, and no name twice."""
    status = plan(experiment(task("a"), last=[last]), NOW).status
    assert (status.phase, status.reason) == ("Failed", reason)
    assert (status.message or "").startswith(message)
