"""Cancelling, deleting, and units that somebody deletes by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runyard.api import ExperimentPhase, UnitPhase
from runyard_operator.engine.effects import DeleteUnit, ReleaseFinalizer
from runyard_operator.engine.experiment import Foreign, plan
from runyard_operator.engine.slots import Slot
from tests.unit.engine.builders import LATER, NOW, accepted, experiment, made, task, told
from tests.unit.engine.rounds import Rounds

PENDING, RUNNING, SUCCEEDED = UnitPhase.PENDING, UnitPhase.RUNNING, UnitPhase.SUCCEEDED
PAIR = (task("a"), task("b", "a"))


def test_cancel_reaches_everything_that_has_not_ended() -> None:
    """What runs is cancelled, what waits never gets a unit, and what has ended stays."""
    rounds = Rounds(experiment(*PAIR, task("c"), task("d", "a", "c")))
    rounds.settle()
    rounds.end(SUCCEEDED, "a")
    rounds.settle()
    rounds.edit(cancel=True)
    assert rounds.settle() == {"exp-b": "cancel", "exp-c": "cancel"}
    assert rounds.states == {"a": "S", "b": "C", "c": "C", "d": "C"}
    assert (rounds.phase, rounds.view.status.reason) == ("Cancelled", "CancelRequested")


def test_a_cancel_wins_over_a_failure() -> None:
    """What a person asked for is the result."""
    rounds = Rounds(experiment(task("a"), task("b"), failurePolicy="Continue"))
    rounds.settle()
    rounds.end(UnitPhase.FAILED, "a")
    rounds.edit(cancel=True)
    rounds.settle()
    assert rounds.phase == "Cancelled"


def test_a_cancel_that_came_too_late_for_every_task_changes_nothing() -> None:
    """All had ended: so it ended well."""
    rounds = Rounds(experiment(task("a")))
    rounds.settle()
    rounds.end()
    rounds.edit(cancel=True)
    rounds.settle()
    assert rounds.phase == "Succeeded"


def test_while_it_is_cancelled_the_phase_says_so() -> None:
    """Until the last unit has ended."""
    view = made(experiment(*PAIR, cancel=False), a=RUNNING)
    view = replace(view, spec=view.spec.model_copy(update={"cancel": True}))
    decision = plan(view, NOW)
    assert told(decision) == {"exp-a": "cancel"}
    assert decision.status.phase is ExperimentPhase.CANCELLING


def test_a_unit_that_knows_of_its_cancel_is_not_told_again() -> None:
    """Nor does the cancel of one unit touch its siblings."""
    view = made(experiment(task("a"), task("b")), a=RUNNING, b=RUNNING)
    cancelled = {Slot("a"): replace(view.units[Slot("a")], cancel=True)}
    assert told(plan(replace(view, units={**view.units, **cancelled}), NOW)) == {}


UNDER_WAY = [phase for phase in UnitPhase if not phase.terminal]


@pytest.mark.parametrize("phase", UNDER_WAY)
def test_a_unit_that_is_deleted_on_its_way_counts_as_cancelled(phase: UnitPhase) -> None:
    """Its task is never run again; what comes after it is skipped."""
    rounds = Rounds(made(experiment(*PAIR), a=phase))
    rounds.lose("a")
    assert rounds.settle() == {"b": "skip:DependencyNotMet"}
    assert rounds.states == {"a": "C", "b": "K"}
    assert rounds.phase == "Cancelled"


@pytest.mark.parametrize(
    ("phase", "state"), [("Succeeded", "S"), ("Failed", "F"), ("Cancelled", "C"), ("Skipped", "K")]
)
def test_an_end_that_was_written_outlives_its_unit(phase: UnitPhase, state: str) -> None:
    """The record is latched; the tasks that wait for it go on."""
    tasks = (task("a"), task("x"), task("b", "a:Finished", "x"))
    rounds = Rounds(made(experiment(*tasks, failurePolicy="Continue"), a=UnitPhase(phase)))
    rounds.settle()
    rounds.lose("a")
    rounds.settle()
    rounds.end(SUCCEEDED, "x")
    assert rounds.settle() == {"b": "create"}
    assert rounds.states["a"] == state


def test_deleted_members_leave_the_others_alone() -> None:
    """One counts as Cancelled, the others run."""
    rounds = Rounds(experiment(task("m", matrix={"parameters": {"s": ["1", "2"]}})))
    rounds.settle()
    rounds.lose("m[0]")
    assert rounds.settle() == {}
    assert rounds.states == {"m": "C+"}


def test_a_unit_that_turns_up_after_its_slot_was_written_off_is_ended() -> None:
    """Old news let its task count as cancelled: the experiment waits until it is so."""
    view = accepted(experiment(task("a")))
    view = replace(view, spec=view.spec.model_copy(update={"cancel": True}))
    written_off = replace(view, status=plan(view, NOW).status)
    late = made(experiment(task("a")), a=RUNNING).units
    decision = plan(replace(written_off, units=late), NOW)
    assert told(decision) == {"exp-a": "cancel"}
    assert decision.status.completion_time is None
    assert plan(written_off, NOW).status.phase is ExperimentPhase.CANCELLED


def test_a_late_unit_of_a_deleted_one_is_ended_though_nobody_cancels() -> None:
    """Its task has ended as Cancelled, and stays so."""
    rounds = Rounds(experiment(task("a"), task("x")))
    rounds.settle()
    before = rounds.view.units
    rounds.lose("a")
    rounds.settle()
    rounds.view = replace(rounds.view, units=before)
    assert rounds.settle() == {"exp-a": "cancel"}
    assert rounds.states == {"a": "C", "x": "+"}


def test_outputs_that_went_with_a_deleted_unit_skip_whoever_needs_them() -> None:
    """The grandchild cannot start without the value, and its message says why."""
    wants = task("c", "b", env=[{"name": "X", "value": "${tasks.a.outputs.x}"}])
    rounds = Rounds(experiment(task("a", outputs=[{"name": "x"}]), task("b", "a"), wants))
    rounds.settle()
    rounds.end(x="1")
    rounds.settle()
    rounds.lose("a")
    rounds.end()
    assert rounds.settle() == {"c": "skip:DependencyNotMet"}
    skip = rounds.specs["c"].skip
    assert skip is not None
    assert skip.message == (
        "${tasks.a.outputs.x} has no value: the ExecutionUnit that wrote it was deleted"
    )


def test_deletion_takes_the_units_first() -> None:
    """The finalizer goes when no unit is left; units that are leaving are not deleted twice."""
    view = replace(made(experiment(task("a"), task("b")), a=RUNNING, b=PENDING), deleting=True)
    decision = plan(view, NOW)
    assert decision.effects == (DeleteUnit("exp-a", "uid-a"), DeleteUnit("exp-b", "uid-b"))
    assert decision.status.phase is ExperimentPhase.CANCELLING
    assert decision.requeue_after is not None
    leaving = {slot: replace(unit, deleting=True) for slot, unit in view.units.items()}
    assert plan(replace(view, units=leaving), NOW).effects == ()
    assert plan(replace(view, units={}), NOW).effects == (ReleaseFinalizer(),)
    assert plan(replace(view, units={}, finalizer=False), NOW).effects == ()


def test_deletion_goes_before_everything_else() -> None:
    """Neither a bad spec nor a missing profile nor a taken name keeps an experiment alive."""
    for view in (
        experiment(task("a", "a")),
        experiment(task("a", profile="gone")),
        replace(experiment(task("a")), foreign={Slot("a"): Foreign("exp-a")}),
    ):
        assert plan(replace(view, deleting=True), NOW).effects == (ReleaseFinalizer(),)


def test_a_finished_experiment_that_is_deleted_keeps_its_status() -> None:
    """Its result is not overwritten by Cancelling while its units go."""
    ended = replace(made(experiment(task("a")), a=SUCCEEDED), deleting=True)
    assert ended.ended
    decision = plan(ended, LATER)
    assert decision.status == ended.status
    assert decision.effects == (DeleteUnit("exp-a", "uid-a"),)
