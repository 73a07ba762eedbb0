"""Builds the status of an Experiment: bounded, whatever its size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from runyard.api.experiment import ExperimentPhase, ExperimentStatus, FailedTask, TaskCounts
from runyard.api.unit import UnitPhase
from runyard_operator.engine import conditions, reasons
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.experiment import tasks
from runyard_operator.engine.experiment.view import ExperimentView

MAX_FAILED_TASKS: Final = 10
_ACCEPTED: Final = Want(conditions.ACCEPTED, "True", reasons.ACCEPTED)
_NOT_STALLED: Final = Want(conditions.STALLED, "False", reasons.NONE)


def going_on(
    view: ExperimentView,
    phase: ExperimentPhase,
    wants: tuple[Want, ...],
    now: datetime,
    message: str = "",
) -> ExperimentStatus:
    """A status on the way."""
    running = [n for n, u in view.units.items() if u.phase is UnitPhase.RUNNING]
    if running and not message:
        message = f"running: {', '.join(running[:5])}{' ...' if len(running) > 5 else ''}"
    reason = str(phase)
    common = (
        _ACCEPTED,
        Want(conditions.SUCCEEDED, "Unknown", reasons.IN_PROGRESS),
        Want(conditions.RECONCILING, "True", reason),
        _NOT_STALLED,
    )
    started = phase is not ExperimentPhase.PENDING and view.status.start_time is None
    changes: dict[str, Any] = {"start_time": now} if started else {}
    return _status(view, phase, (*common, *wants), now, reason, message, **changes)


def stalled(view: ExperimentView, reason: str, message: str, now: datetime) -> ExperimentStatus:
    """A status that says what a human must do before it can go on."""
    accepted = reason == reasons.NAME_CONFLICT
    wants = (
        _ACCEPTED if accepted else Want(conditions.ACCEPTED, "False", reason, message),
        Want(conditions.SUCCEEDED, "Unknown", reasons.IN_PROGRESS),
        Want(conditions.RECONCILING, "False", reason),
        Want(conditions.STALLED, "True", reason, message),
    )
    return _status(view, ExperimentPhase.PENDING, wants, now, reason, message)


def rejected(view: ExperimentView, reason: str, message: str, now: datetime) -> ExperimentStatus:
    """The end of an experiment that can never run as it is; its spec is immutable."""
    wants = (
        Want(conditions.ACCEPTED, "False", reason, message),
        *_finished(Want(conditions.SUCCEEDED, "False", reason, message)),
    )
    return _status(view, ExperimentPhase.FAILED, wants, now, reason, message, completion_time=now)


def ended(view: ExperimentView, phases: Mapping[str, UnitPhase], now: datetime) -> ExperimentStatus:
    """The result, once every task is terminal."""
    cancelled = [name for name, phase in phases.items() if phase is UnitPhase.CANCELLED]
    failed = tasks.unhandled_failures(view.spec, phases)
    if view.spec.cancel and cancelled:
        phase, reason = ExperimentPhase.CANCELLED, reasons.CANCEL_REQUESTED
        message = f"cancelled: {', '.join(cancelled)}"
    elif failed:
        phase, reason = ExperimentPhase.FAILED, reasons.TASKS_FAILED
        message = f"failed: {', '.join(failed)}"
    elif cancelled:
        phase, reason = ExperimentPhase.CANCELLED, reasons.CANCEL_REQUESTED
        message = f"cancelled one by one: {', '.join(cancelled)}"
    else:
        phase, reason, message = ExperimentPhase.SUCCEEDED, reasons.SUCCEEDED, ""
    truth = conditions.truth(phase is ExperimentPhase.SUCCEEDED)
    end = Want(conditions.SUCCEEDED, truth, reason, message)
    wants = (_ACCEPTED, *_finished(end))
    return _status(view, phase, wants, now, reason, message, completion_time=now)


def _finished(end: Want) -> tuple[Want, ...]:
    return (end, Want(conditions.RECONCILING, "False", reasons.DONE), _NOT_STALLED)


def _status(
    view: ExperimentView,
    phase: ExperimentPhase,
    wants: tuple[Want, ...],
    now: datetime,
    reason: str,
    message: str,
    **changes: Any,
) -> ExperimentStatus:
    total = len(view.spec.tasks)
    made = conditions.is_true(view.status.conditions, conditions.UNITS_CREATED)
    phases = tasks.written(view) if made else {n: u.phase for n, u in view.units.items()}
    counts = Counter(phases.values())
    done = sum(number for each, number in counts.items() if each.terminal)
    failures = [
        FailedTask(
            name=name,
            reason=unit.status.reason or reasons.ERROR,
            message=(unit.status.message or "")[: conditions.MAX_MESSAGE],
        )
        for name, unit in view.units.items()
        if unit.phase is UnitPhase.FAILED
    ]
    return view.status.model_copy(
        update={
            "observed_generation": view.generation,
            "phase": phase,
            "reason": reason,
            "message": message[: conditions.MAX_MESSAGE] or None,
            "progress": f"{done}/{total}",
            "counts": TaskCounts(
                total=total, **{str(each).lower(): number for each, number in counts.items()}
            ),
            "failed_tasks": failures[:MAX_FAILED_TASKS],
            "conditions": conditions.merge(
                view.status.conditions, wants, generation=view.generation, now=now
            ),
            **changes,
        }
    )
