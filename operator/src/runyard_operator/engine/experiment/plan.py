"""The life of an Experiment: `plan` looks at it and all its units and decides.

The order of the questions is the behaviour: being deleted? ended? acceptable? only to be planned?
then each slot's next step, and last whether everything has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from runyard.api.experiment import ExperimentPhase, ExperimentStatus, Mode
from runyard_operator.engine import (
    check,
    checked_references,
    conditions,
    effects,
    merge,
    pace,
    reasons,
    slots,
)
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.experiment import (
    clusters,
    making,
    outcome,
    staging,
    standing,
    status,
    tasks,
)
from runyard_operator.engine.experiment.tasks import Advance
from runyard_operator.engine.experiment.view import (
    ExperimentDecision,
    ExperimentView,
    Fact,
    Foreign,
    NotStaged,
    Planned,
    Staged,
)
from runyard_operator.engine.slots import Layout


def plan(view: ExperimentView, now: datetime, fact: Fact = None) -> ExperimentDecision:
    """Decides what becomes of the experiment. Pure; a second run changes nothing."""
    if view.deleting:
        return _deleting(view, now)
    if view.ended:
        return _ended(view, now)
    if not view.accepted:
        return _prepare(view, now)
    layout = view.layout or slots.layout(view.name, view.spec)
    if view.spec.mode is Mode.PLAN:
        return _planning(view, fact, now)
    return _advance(view, layout, now, fact)


def _ended(view: ExperimentView, now: datetime) -> ExperimentDecision:
    """Nothing reopens it; its time to live may end it for good."""
    seen = view.status.model_copy(update={"observed_generation": view.generation})
    release = tuple(effects.ReleaseCluster(uid) for uid in view.clusters.values())
    if release:
        return ExperimentDecision(seen, release, requeue_after=pace.RETRY)
    if view.finalizer:
        return ExperimentDecision(seen, (effects.ReleaseFinalizer(),))
    ttl, end = view.spec.ttl_seconds_after_finished, view.status.completion_time
    if ttl is None or end is None:
        return ExperimentDecision(seen)
    left = (end + timedelta(seconds=ttl) - now).total_seconds()
    if left > 0:
        return ExperimentDecision(seen, requeue_after=left)
    return ExperimentDecision(seen, (effects.DeleteSelf(),), requeue_after=pace.RETRY)


def _prepare(view: ExperimentView, now: datetime) -> ExperimentDecision:
    """Checks the spec with all that it inherits, and writes down what it was accepted with."""
    if view.spec.cancel:
        end = status.ended(
            view,
            ExperimentPhase.CANCELLED,
            reasons.CANCEL_REQUESTED,
            "cancelled before it started",
            now,
        )
        return ExperimentDecision(end, requeue_after=0.0)
    try:
        layout = slots.layout(view.name, view.spec)
        merged = making.merged_tasks(view, layout)
        checked_references.check(view.spec, layout, merged)
        clusters.check(layout, merged)
        for task in merged.values():
            where = "finally" if layout.tasks[task.name].final else "tasks"
            check.work(task, f"{where}[{task.name}]")
        check.code(view.spec.code)
        check.profiles(view.profiles.values())
        check.rerun(view.name, view.spec)
    except check.InvalidSpecError as error:
        refused = status.rejected(view, error.reason, str(error), now)
        return ExperimentDecision(refused, requeue_after=0.0)
    except merge.ProfileError as error:
        # A profile may still be written or mended: wait for it, its event brings us back.
        return _stalled(view, error.reason, str(error), now)
    if view.earlier is None and view.spec.rerun_of is not None:
        message = (
            f"rerunOf names the Experiment {view.spec.rerun_of.name!r}, which does not exist in"
            " this namespace: correct the name, or create the experiment without it"
        )
        return _stalled(view, reasons.RERUN_NOT_FOUND, message, now)
    if not view.finalizer:
        waiting = status.going_on(view, ExperimentPhase.PENDING, (), now)
        return ExperimentDecision(waiting, (effects.AddFinalizer(),))
    fresh = tasks.look(view, layout)
    accepted = status.going_on(
        view,
        ExperimentPhase.RUNNING,
        (),
        now,
        profiles=list(view.profiles.values()),
        **status.progressing(view, layout, fresh),
    )
    return ExperimentDecision(accepted, requeue_after=0.0)


def _stalled(view: ExperimentView, reason: str, message: str, now: datetime) -> ExperimentDecision:
    blocked = status.stalled(view, reason, message, now)
    return ExperimentDecision(blocked, requeue_after=pace.STALLED)


def _planning(view: ExperimentView, fact: Fact, now: datetime) -> ExperimentDecision:
    if view.spec.cancel:
        end = status.ended(
            view, ExperimentPhase.CANCELLED, reasons.CANCEL_REQUESTED, "cancelled", now
        )
        return ExperimentDecision(end, requeue_after=0.0)
    if not isinstance(fact, Planned):
        return ExperimentDecision(view.status, (effects.RenderPlan(),), pace.RETRY)
    where = f"ConfigMap {fact.config_map}"
    written = {"plan": {"config_map": fact.config_map, "digest": fact.digest}}
    if fact.problems:
        phase, reason = ExperimentPhase.FAILED, reasons.PLAN_FAILED
        message = f"{fact.problems[0]} ({len(fact.problems)} in all, see {where})"
    else:
        phase, reason = ExperimentPhase.SUCCEEDED, reasons.PLANNED
        message = f"{len(view.spec.tasks) + len(view.spec.finally_)} tasks planned, see {where}"
    end = status.ended(view, phase, reason, message, now)
    new = ExperimentStatus.model_validate({**end.model_dump(), **written})
    return ExperimentDecision(new, requeue_after=0.0)


def _advance(
    view: ExperimentView, layout: Layout, now: datetime, fact: Fact = None
) -> ExperimentDecision:
    going = not (view.spec.suspend or view.spec.cancel)
    resumed = going and standing.written(view, conditions.SUSPENDED)
    start = now if resumed else view.status.start_time
    advance = tasks.look(view, layout)
    deadline = _deadline(view, layout, advance, start)
    passed = deadline is not None and now >= deadline
    exceeded = passed or standing.written(view, conditions.DEADLINE_EXCEEDED)
    if staging.pending(view) and not (view.spec.cancel or exceeded):
        told = status.progressing(view, layout, advance)
        told["start_time"] = start or now
        staged = fact if isinstance(fact, Staged | NotStaged) else None
        return staging.step(view, staged, now, told)
    tasks.Stepper(view, layout, advance, exceeded=exceeded).run()
    told = status.progressing(view, layout, advance)
    told["start_time"] = start or now
    wants = standing.wants(view, layout, advance, exceeded=exceeded)
    # What a unit says is a fact; what this pass wants is only on its way.
    if all(phase.terminal for phase in advance.before.values()) and not _anything_left(view):
        return _finish(view, layout, advance, wants, told, now)
    if (foreign := tasks.in_the_way(view, advance.effects)) is not None:
        return _blocked(view, advance, foreign, wants, told, now)
    phase = _phase(view, exceeded=exceeded)
    message = status.running_message(advance)
    if phase is ExperimentPhase.SUSPENDED:
        message = standing.suspended_message(view)
    new = status.going_on(view, phase, wants, now, message, **told)
    wanted = [*advance.effects, *_releases(view, layout, advance)]
    inline = view.spec.code is not None and view.spec.code.inline is not None
    if inline and tasks.nothing_made(view) and advance.made:
        wanted = [effects.StageCode(), *wanted]
    again = pace.RECHECK
    if advance.made == tasks.MAX_MADE or told["tasks"] != view.status.tasks:
        again = 0.0
    elif deadline is not None and not exceeded:
        again = min(again, max((deadline - now).total_seconds(), 0.0))
    return ExperimentDecision(
        new,
        tuple(wanted),
        again,
        soft=status.is_soft(view.status, new),
        verify=advance.given_up and not view.live,
    )


def _releases(
    view: ExperimentView, layout: Layout, advance: Advance
) -> Iterator[effects.ReleaseCluster]:
    if view.clusters:
        merged = making.merged_tasks(view, layout)
        yield from clusters.releases(view, layout, merged, advance.before)


def _anything_left(view: ExperimentView) -> bool:
    """Whether a unit goes on, be it one of a slot that was written off before it was seen."""
    return any(map(tasks.is_on_its_way, view.units.values()))


def _deadline(
    view: ExperimentView, layout: Layout, advance: Advance, start: datetime | None
) -> datetime | None:
    """When the whole experiment must be over; no clock runs while it is suspended or `finally` is
    all that is left."""
    seconds = view.spec.active_deadline_seconds
    if seconds is None or start is None or standing.is_suspended(view):
        return None
    if outcome.main_ended(layout, advance.before):
        return None
    return start + timedelta(seconds=seconds)


def _phase(view: ExperimentView, *, exceeded: bool) -> ExperimentPhase:
    if view.spec.cancel or exceeded:
        return ExperimentPhase.CANCELLING
    return ExperimentPhase.SUSPENDED if standing.is_suspended(view) else ExperimentPhase.RUNNING


def _blocked(
    view: ExperimentView,
    advance: Advance,
    foreign: Foreign,
    wants: tuple[Want, ...],
    told: dict[str, object],
    now: datetime,
) -> ExperimentDecision:
    """A name is taken: what needs no new unit goes on, and none is made."""
    wanted = tuple(each for each in advance.effects if not isinstance(each, effects.CreateUnit))
    if foreign.deleting:
        message = f"waiting for an older ExecutionUnit {foreign.name} to go"
        waiting = status.going_on(view, ExperimentPhase.RUNNING, wants, now, message, **told)
        return ExperimentDecision(waiting, wanted, requeue_after=pace.RETRY)
    message = (
        f"ExecutionUnit {foreign.name} exists and belongs to somebody else: delete it, or give the"
        " experiment another name"
    )
    blocked = status.stalled(view, reasons.NAME_CONFLICT, message, now, *wants, **told)
    return ExperimentDecision(blocked, wanted, requeue_after=pace.STALLED)


def _finish(
    view: ExperimentView,
    layout: Layout,
    advance: Advance,
    wants: tuple[Want, ...],
    told: dict[str, object],
    now: datetime,
) -> ExperimentDecision:
    exceeded = standing.written(view, conditions.DEADLINE_EXCEEDED)
    phase, because = outcome.result(
        list(layout.tasks.values()),
        advance.before,
        cancel=view.spec.cancel,
        exceeded=exceeded,
    )
    match phase:
        case ExperimentPhase.CANCELLED:
            reason, message = reasons.CANCEL_REQUESTED, f"cancelled: {status.named(because)}"
        case ExperimentPhase.FAILED if because and not exceeded:
            reason, message = reasons.TASKS_FAILED, f"failed: {status.named(because)}"
        case ExperimentPhase.FAILED:
            reason = reasons.DEADLINE_EXCEEDED
            seconds = view.spec.active_deadline_seconds
            message = f"not over after activeDeadlineSeconds = {seconds}"
        case _:
            reason, message = reasons.SUCCEEDED, ""
    end = status.ended(view, phase, reason, message, now, *wants, **told)
    return ExperimentDecision(end, requeue_after=0.0)


def _deleting(view: ExperimentView, now: datetime) -> ExperimentDecision:
    """The units go first, each ending its own job; the experiment goes when none is left."""
    if not view.units:
        release = (effects.ReleaseFinalizer(),) if view.finalizer else ()
        return ExperimentDecision(view.status, release)
    doomed = tuple(
        effects.DeleteUnit(unit.name, unit.uid) for unit in view.units.values() if not unit.deleting
    )
    if view.ended or not view.finalizer:
        return ExperimentDecision(view.status, doomed, requeue_after=pace.RETRY)
    leaving = status.going_on(view, ExperimentPhase.CANCELLING, (), now)
    return ExperimentDecision(leaving, doomed, requeue_after=pace.RETRY)
