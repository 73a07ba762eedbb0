"""Suspending an experiment, or some of its tasks, and going on."""

from __future__ import annotations

from dataclasses import replace

from runyard.api import UnitPhase
from runyard_operator.engine.experiment import plan
from tests.unit.engine.builders import LATER, NOW, condition, experiment, made, task, told
from tests.unit.engine.rounds import Rounds

PAIR = (task("a"), task("b", "a"))
TWO = (task("a"), task("b"))


def test_nothing_starts_while_it_is_suspended() -> None:
    """It says so, and starts when it is resumed."""
    rounds = Rounds(experiment(*PAIR, suspend=True))
    assert rounds.settle() == {}
    assert rounds.phase == "Suspended"
    found = condition(rounds.once(), "Suspended")
    assert (found.status, found.reason) == ("True", "Suspended")
    rounds.edit(suspend=False)
    assert rounds.settle() == {"a": "create"}
    assert rounds.phase == "Running"
    assert condition(rounds.once(), "Suspended").status == "False"


def test_what_runs_is_suspended_and_resumed() -> None:
    """Its units are told; none is made twice or lost."""
    rounds = Rounds(experiment(*TWO))
    rounds.settle()
    rounds.edit(suspend=True)
    assert rounds.settle() == {"exp-a": "suspend", "exp-b": "suspend"}
    rounds.edit(suspend=False)
    assert rounds.settle() == {"exp-a": "resume", "exp-b": "resume"}
    rounds.end()
    rounds.settle()
    assert rounds.phase == "Succeeded"


def test_units_that_cannot_be_suspended_are_named() -> None:
    """The message tells what still runs, until it has ended."""
    running = made(experiment(*TWO), a=UnitPhase.RUNNING, b=UnitPhase.RUNNING)
    units = {slot: replace(unit, suspend=True) for slot, unit in running.units.items()}
    view = replace(running, units=units, spec=running.spec.model_copy(update={"suspend": True}))
    decision = plan(view, NOW)
    assert told(decision) == {}, "they know it already"
    assert decision.status.message == "not yet suspended: exp-a, exp-b"


def test_a_task_that_ends_while_suspended_keeps_its_end() -> None:
    """Its child waits for the resume."""
    rounds = Rounds(experiment(*PAIR))
    rounds.settle()
    rounds.edit(suspend=True)
    rounds.settle()
    rounds.end()
    assert rounds.settle() == {}
    assert rounds.states == {"a": "S", "b": "."}
    rounds.edit(suspend=False)
    assert rounds.settle() == {"b": "create"}


def test_the_end_of_the_last_task_ends_a_suspended_experiment() -> None:
    """There is nothing left to wait for, and nothing is suspended any more."""
    rounds = Rounds(experiment(task("a")))
    rounds.settle()
    rounds.edit(suspend=True)
    rounds.settle()
    rounds.end()
    rounds.settle()
    assert rounds.phase == "Succeeded"


def test_a_resume_begins_the_time_anew() -> None:
    """As for a Job: `startTime` is that of the resume."""
    rounds = Rounds(experiment(*TWO))
    rounds.settle()
    rounds.edit(suspend=True)
    rounds.settle()
    assert rounds.view.status.start_time == NOW
    rounds.now = LATER
    rounds.edit(suspend=False)
    rounds.settle()
    assert rounds.view.status.start_time == LATER
    rounds.wait(60)
    rounds.settle()
    assert rounds.view.status.start_time == LATER


def test_single_tasks_are_suspended_alone() -> None:
    """The others go on; a task that is not made yet waits."""
    rounds = Rounds(experiment(*TWO, task("c", "b"), suspendTasks=["a", "c"]))
    assert rounds.settle() == {"b": "create"}
    rounds.end()
    assert rounds.settle() == {}
    assert rounds.phase == "Running"
    rounds.edit(suspendTasks=["c"])
    assert rounds.settle() == {"a": "create"}
    rounds.edit(suspendTasks=["a", "c"])
    assert rounds.settle() == {"exp-a": "suspend"}
    rounds.edit(suspendTasks=[])
    assert rounds.settle() == {"exp-a": "resume", "c": "create"}


def test_all_members_of_a_matrix_are_suspended_together() -> None:
    """The task is named, not the member."""
    rounds = Rounds(experiment(task("m", matrix={"parameters": {"s": ["1", "2"]}})))
    rounds.settle()
    rounds.edit(suspendTasks=["m"])
    assert rounds.settle() == {"exp-m-0": "suspend", "exp-m-1": "suspend"}


def test_what_is_suspended_gives_its_room_to_others() -> None:
    """With `maxParallel` a suspended task does not block the rest, and comes back in its turn."""
    rounds = Rounds(experiment(*TWO, maxParallel=1))
    assert rounds.settle() == {"a": "create"}
    rounds.edit(suspendTasks=["a"])
    assert rounds.settle() == {"exp-a": "suspend", "b": "create"}
    rounds.edit(suspendTasks=[])
    assert rounds.settle() == {}, "there is no room"
    rounds.end(UnitPhase.SUCCEEDED, "b")
    assert rounds.settle() == {"exp-a": "resume"}


def test_a_cancel_ends_a_suspended_experiment() -> None:
    """Also its `finally` runs: nobody has to resume what is over."""
    rounds = Rounds(experiment(*PAIR, last=[task("z")]))
    rounds.settle()
    rounds.edit(suspend=True)
    rounds.settle()
    rounds.edit(cancel=True)
    assert rounds.settle() == {"exp-a": "cancel", "z": "create"}
    rounds.end()
    rounds.settle()
    assert rounds.phase == "Cancelled"
    assert condition(rounds.once(), "Suspended").status == "False"


def test_a_failure_ends_a_suspended_experiment_under_fail_fast() -> None:
    """What is suspended is cancelled, what waits is skipped."""
    rounds = Rounds(experiment(*TWO, task("c", "b")))
    rounds.settle()
    rounds.edit(suspend=True)
    rounds.settle()
    rounds.end(UnitPhase.FAILED, "a")
    assert rounds.settle() == {"exp-b": "cancel", "c": "skip:FailFast"}
    assert rounds.phase == "Failed"


def test_tasks_of_finally_wait_for_the_resume() -> None:
    """Suspended means that nothing starts."""
    rounds = Rounds(experiment(task("a"), last=[task("z")]))
    rounds.settle()
    rounds.edit(suspend=True)
    rounds.settle()
    rounds.end()
    assert rounds.settle() == {}
    rounds.edit(suspend=False)
    assert rounds.settle() == {"z": "create"}
