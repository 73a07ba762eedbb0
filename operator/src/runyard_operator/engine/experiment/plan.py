"""The life of an Experiment: `plan` looks at it and all its units and decides.

The order of the questions is the behaviour: ended? being deleted? acceptable? its units made?
then each task's next step, and last whether everything has ended.
"""

from __future__ import annotations

from datetime import datetime

from runyard.api.experiment import ExperimentPhase, ExperimentStatus
from runyard.api.task import Task
from runyard_operator.engine import check, conditions, effects, graph, merge, pace, reasons
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.experiment import status, tasks
from runyard_operator.engine.experiment.view import ExperimentDecision, ExperimentView


def plan(view: ExperimentView, now: datetime) -> ExperimentDecision:
    """Decides what becomes of the experiment. Pure; a second run changes nothing."""
    if view.deleting:
        return _deleting(view, now)
    if view.ended:
        seen = view.status.model_copy(update={"observed_generation": view.generation})
        release = (effects.ReleaseFinalizer(),) if view.finalizer else ()
        return ExperimentDecision(seen, release)
    if conditions.is_true(view.status.conditions, conditions.UNITS_CREATED):
        # The units carry all that they inherit: from here on a profile may change or go.
        return _advance(view, graph.in_order(view.spec.tasks), now)
    if view.spec.cancel:
        return _wind_down(view, status.ended(view, tasks.written(view), now), now)
    return _prepare(view, now)


def _prepare(view: ExperimentView, now: datetime) -> ExperimentDecision:
    """Checks the spec with all that it inherits, then makes the units."""
    try:
        ordered = graph.in_order(
            [merge.merged(task, view.spec.defaults, view.profiles) for task in view.spec.tasks]
        )
        graph.check_references(ordered)
        for task in ordered:
            check.work(task, f"tasks[{task.name}]")
        check.code(view.spec.code)
    except check.InvalidSpecError as error:
        refused = status.rejected(view, error.reason, str(error), now)
        return _wind_down(view, refused, now)
    except merge.ProfileError as error:
        # A profile may still be written or mended: wait for it, its event brings us back.
        decision = status.stalled(view, error.reason, str(error), now)
        return ExperimentDecision(decision, requeue_after=pace.STALLED)
    if not view.finalizer:
        waiting = status.going_on(view, ExperimentPhase.PENDING, (), now)
        return ExperimentDecision(waiting, (effects.AddFinalizer(),))
    return _create_units(view, ordered, now)


def _wind_down(view: ExperimentView, end: ExperimentStatus, now: datetime) -> ExperimentDecision:
    """The end of an experiment before all its units were made; those that exist end first."""
    alive = {name: unit for name, unit in view.units.items() if not unit.phase.terminal}
    if not alive:
        return ExperimentDecision(end, requeue_after=0.0)
    cancels = tuple(
        effect for name, unit in alive.items() if (effect := tasks.cancel(name, unit)) is not None
    )
    leaving = status.going_on(view, ExperimentPhase.CANCELLING, (), now)
    return ExperimentDecision(leaving, cancels, requeue_after=pace.RECHECK)


def _create_units(view: ExperimentView, ordered: list[Task], now: datetime) -> ExperimentDecision:
    """All units are made before any is released, and after that never again.

    So a unit that is missing later was deleted by somebody, and its task is not run twice.
    """
    for name, foreign in view.foreign.items():
        if foreign.deleting:
            message = f"waiting for an older ExecutionUnit {foreign.name} to go"
            waiting = status.going_on(view, ExperimentPhase.PENDING, (), now, message)
            return ExperimentDecision(waiting, requeue_after=pace.RETRY)
        message = (
            f"ExecutionUnit {foreign.name}, needed for task {name!r}, exists and belongs to"
            " somebody else: delete it, or give the experiment another name"
        )
        blocked = status.stalled(view, reasons.NAME_CONFLICT, message, now)
        return ExperimentDecision(blocked, requeue_after=pace.STALLED)
    missing = [task for task in ordered if task.name not in view.units]
    if missing:
        waiting = status.going_on(view, ExperimentPhase.PENDING, (), now)
        staged = (effects.StageCode(),) if view.spec.code else ()
        created = tuple(tasks.create(view, task) for task in missing)
        return ExperimentDecision(waiting, (*staged, *created), requeue_after=0.0)
    made = (Want(conditions.UNITS_CREATED, "True", reasons.UNITS_CREATED),)
    return ExperimentDecision(
        status.going_on(view, ExperimentPhase.RUNNING, made, now), requeue_after=0.0
    )


def _advance(view: ExperimentView, ordered: list[Task], now: datetime) -> ExperimentDecision:
    written = tasks.written(view)
    if all(phase.terminal for phase in written.values()):
        return ExperimentDecision(status.ended(view, written, now), requeue_after=0.0)
    steps = tasks.advance(view, ordered)
    phase = ExperimentPhase.CANCELLING if view.spec.cancel else ExperimentPhase.RUNNING
    wanted = tuple(step.effect for step in steps.values() if step.effect is not None)
    return ExperimentDecision(
        status.going_on(view, phase, (), now), wanted, requeue_after=pace.RECHECK
    )


def _deleting(view: ExperimentView, now: datetime) -> ExperimentDecision:
    """The units go first, each ending its own job; the experiment goes when none is left."""
    if not view.units:
        release = (effects.ReleaseFinalizer(),) if view.finalizer else ()
        return ExperimentDecision(view.status, release)
    doomed = tuple(
        effects.DeleteUnit(name, unit.uid) for name, unit in view.units.items() if not unit.deleting
    )
    if view.ended or not view.finalizer:
        return ExperimentDecision(view.status, doomed, requeue_after=pace.RETRY)
    leaving = status.going_on(view, ExperimentPhase.CANCELLING, (), now)
    return ExperimentDecision(leaving, doomed, requeue_after=pace.RETRY)
