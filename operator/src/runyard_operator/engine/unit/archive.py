"""Keeping the logs of attempts that are over. Nothing waits for it, and nothing hangs on it."""

from __future__ import annotations

from runyard_operator.engine import effects, pace
from runyard_operator.engine.unit.view import Archived, UnitDecision, UnitView


def due(unit: UnitView) -> tuple[effects.ArchiveLogs, ...]:
    """One effect for each attempt that is over, had a job, and whose logs are not kept yet."""
    if not unit.archives or unit.deleting:
        return ()
    return tuple(
        effects.ArchiveLogs(each.number)
        for each in unit.status.attempts
        if each.completion_time is not None and each.handle is not None and each.log is None
    )


def record(unit: UnitView, fact: Archived) -> UnitDecision:
    """Writes down where the logs of an attempt are; also after the unit's end."""
    attempts = [
        each.model_copy(update={"log": fact.log})
        if each.number == fact.attempt and each.log is None
        else each
        for each in unit.status.attempts
    ]
    new = unit.status.model_copy(update={"attempts": attempts})
    return UnitDecision(new, requeue_after=pace.AT_ONCE)
