"""Builds the status of an Experiment: bounded, whatever its size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from typing import Any, Final

from runyard.api.experiment import ExperimentPhase, ExperimentStatus, FailedTask, TaskCounts
from runyard.api.unit import UnitPhase
from runyard_operator.engine import conditions, reasons, record
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.experiment.tasks import Advance
from runyard_operator.engine.experiment.view import ExperimentView
from runyard_operator.engine.slots import Layout, Slot

MAX_LISTED: Final = 10
"""Failed and skipped tasks that are listed, and tasks that a message names."""
MAX_LISTED_BYTES: Final = 1024
"""Of the message of each task that is listed."""
_ACCEPTED: Final = Want(conditions.ACCEPTED, "True", reasons.ACCEPTED)
_NOT_STALLED: Final = Want(conditions.STALLED, "False", reasons.NONE)


def going_on(
    view: ExperimentView,
    phase: ExperimentPhase,
    wants: tuple[Want, ...],
    now: datetime,
    message: str = "",
    **changes: Any,
) -> ExperimentStatus:
    """A status on the way."""
    reason = str(phase)
    common = (
        _ACCEPTED,
        Want(conditions.SUCCEEDED, "Unknown", reasons.IN_PROGRESS),
        Want(conditions.RECONCILING, "True", reason),
        _NOT_STALLED,
    )
    started = phase is not ExperimentPhase.PENDING and view.status.start_time is None
    if started:
        changes.setdefault("start_time", now)
    return _status(view, phase, (*common, *wants), now, reason, message, **changes)


def progressing(view: ExperimentView, layout: Layout, advance: Advance) -> dict[str, Any]:
    """The fields that tell how far all tasks are."""
    total = len(advance.phases)
    counts = Counter(advance.phases.values())
    done = sum(number for phase, number in counts.items() if phase.terminal)
    failed = _ended_as(UnitPhase.FAILED, view, layout)
    skipped = chain(advance.skipped, _ended_as(UnitPhase.SKIPPED, view, layout))
    return {
        "progress": f"{done}/{total}",
        "counts": TaskCounts(
            total=total, **{str(each).lower(): number for each, number in counts.items()}
        ),
        "tasks": record.write(advance.states, layout),
        "failed_tasks": _listed(view.status.failed_tasks, failed),
        "skipped_tasks": _listed(view.status.skipped_tasks, skipped),
    }


def _ended_as(phase: UnitPhase, view: ExperimentView, layout: Layout) -> Iterator[FailedTask]:
    for place in layout.tasks.values():
        for slot in place.slots:
            unit = view.units.get(slot)
            if unit is not None and unit.phase is phase:
                reason = unit.reason or str(phase)
                yield FailedTask(name=str(slot), reason=reason, message=_cut(unit.message or ""))


def _listed(old: list[FailedTask], new: Iterable[FailedTask]) -> list[FailedTask]:
    """What was listed stays, also when its unit is gone."""
    listed = {each.name: each for each in old}
    for each in new:
        if len(listed) == MAX_LISTED:
            break
        listed.setdefault(each.name, each)
    return list(listed.values())


def _cut(message: str) -> str:
    return message.encode()[:MAX_LISTED_BYTES].decode(errors="ignore")


def running_message(advance: Advance) -> str:
    """What is going on, in one line."""
    if advance.awaiting:
        return f"waiting for approval: {named(advance.awaiting)}"
    running = [str(slot) for slot, phase in advance.phases.items() if phase is UnitPhase.RUNNING]
    return f"running: {named(running)}" if running else ""


def named(slots: Iterable[Slot | str]) -> str:
    """The names of the first few."""
    names = [str(each) for each in slots]
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def stalled(
    view: ExperimentView, reason: str, message: str, now: datetime, *more: Want, **changes: Any
) -> ExperimentStatus:
    """A status that says what a human must do before it can go on."""
    accepted = view.accepted
    phase = view.status.phase if accepted and view.status.phase else ExperimentPhase.PENDING
    wants = (
        _ACCEPTED if accepted else Want(conditions.ACCEPTED, "False", reason, message),
        Want(conditions.SUCCEEDED, "Unknown", reasons.IN_PROGRESS),
        Want(conditions.RECONCILING, "False", reason),
        Want(conditions.STALLED, "True", reason, message),
        *more,
    )
    return _status(view, phase, wants, now, reason, message, **changes)


def rejected(view: ExperimentView, reason: str, message: str, now: datetime) -> ExperimentStatus:
    """The end of an experiment that can never run as it is; its spec is immutable."""
    wants = (
        Want(conditions.ACCEPTED, "False", reason, message),
        *_finished(Want(conditions.SUCCEEDED, "False", reason, message)),
    )
    return _status(view, ExperimentPhase.FAILED, wants, now, reason, message, completion_time=now)


def ended(
    view: ExperimentView,
    phase: ExperimentPhase,
    reason: str,
    message: str,
    now: datetime,
    *more: Want,
    **changes: Any,
) -> ExperimentStatus:
    """The result, once every task is terminal."""
    truth = conditions.truth(phase is ExperimentPhase.SUCCEEDED)
    wants = (_ACCEPTED, *_finished(Want(conditions.SUCCEEDED, truth, reason, message)), *more)
    return _status(view, phase, wants, now, reason, message, completion_time=now, **changes)


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
    return view.status.model_copy(
        update={
            "observed_generation": view.generation,
            "phase": phase,
            "reason": reason,
            "message": message[: conditions.MAX_MESSAGE] or None,
            "conditions": conditions.merge(
                view.status.conditions, wants, generation=view.generation, now=now
            ),
            **changes,
        }
    )


def is_soft(old: ExperimentStatus, new: ExperimentStatus) -> bool:
    """Whether only counts, texts and records differ: these can wait for what follows."""

    def hard(status: ExperimentStatus) -> object:
        return (
            status.phase,
            status.observed_generation,
            status.start_time,
            status.completion_time,
            bool(status.tasks),
            [(each.type, each.status, each.reason) for each in status.conditions],
        )

    return hard(old) == hard(new)
