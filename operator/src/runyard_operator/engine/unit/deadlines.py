"""How long an attempt may wait and run; what happens then is decided in `ending`."""

from __future__ import annotations

from datetime import datetime, timedelta

from runyard.api.unit import Attempt, UnitPhase
from runyard_operator.engine import conditions, pace, reasons
from runyard_operator.engine.unit import suspension
from runyard_operator.engine.unit.view import UnitView


def exceeded(unit: UnitView, attempt: Attempt, now: datetime) -> tuple[str, str] | None:
    """Reason and message when the attempt's time is over."""
    left = _left(unit, attempt, now)
    limits = unit.spec.deadlines
    if limits is None or left is None or left > timedelta():
        return None
    if attempt.start_time is None:
        message = f"it had not started {limits.queued_seconds} s after its submission"
        if unit.status.phase is UnitPhase.WAITING and unit.status.message:
            message += f"; the last that was known: {unit.status.reason}: {unit.status.message}"
        return reasons.QUEUE_DEADLINE_EXCEEDED, message
    message = f"it ran longer than the {limits.active_seconds} s that it may"
    return reasons.DEADLINE_EXCEEDED, message


def next_look(unit: UnitView, attempt: Attempt, now: datetime, otherwise: float) -> float:
    """Seconds until the attempt's time is over, at most `otherwise`."""
    left = _left(unit, attempt, now)
    if left is None:
        return otherwise
    return min(otherwise, max(left.total_seconds(), pace.AT_ONCE))


def _left(unit: UnitView, attempt: Attempt, now: datetime) -> timedelta | None:
    """The time that is left; None when there is no limit, or the clock stands still."""
    limits = unit.spec.deadlines
    if limits is None or suspension.stops_the_clock(unit):
        return None
    if attempt.start_time is not None:
        since, limit = attempt.start_time, limits.active_seconds
    else:
        since, limit = _queued_since(unit, attempt, now), limits.queued_seconds
    return None if limit is None else since + timedelta(seconds=limit) - now


def _queued_since(unit: UnitView, attempt: Attempt, now: datetime) -> datetime:
    """When the attempt began to wait: a suspended job begins anew when it is resumed.

    `submitTime` moves with every submit of one attempt. Until the backend has taken one, the
    clock is that of the condition, which the attempt's beginning made Unknown.
    """
    since = attempt.submit_time or now
    taken = conditions.find(unit.status.conditions, conditions.SUBMITTED)
    if taken is not None and taken.status == "Unknown":
        since = min(since, taken.last_transition_time)
    resumed = suspension.resumed_at(unit, now)
    return since if resumed is None else max(since, resumed)
