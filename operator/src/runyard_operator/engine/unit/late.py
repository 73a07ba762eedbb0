"""What becomes known of an attempt that is over: recorded, never applied.

The job of an attempt that was given up as lost is looked at while the unit goes on. When it comes
back it is ended before anything else, so that never two jobs of a unit live.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from runyard.api.policy import FailureClass
from runyard.api.unit import Attempt, UnitStatus
from runyard_operator.engine import effects, pace, reasons
from runyard_operator.engine.observation import Observation, State
from runyard_operator.engine.unit import absence, status
from runyard_operator.engine.unit.view import UnitDecision, UnitView

MAX_RESULT: Final = 1024
_OVER: Final = (State.SUCCEEDED, State.FAILED, State.ABSENT)


def lost(unit: UnitView) -> list[Attempt]:
    """The attempts whose job was given up and may yet come back; none in the normal case."""
    if unit.ended:
        return []
    return [
        each
        for each in unit.status.attempts
        if each.failure_class is FailureClass.BACKEND_LOST
        and each.completion_time is not None
        and not _settled(each)
    ]


def about(unit: UnitView, seen: Observation) -> Attempt | None:
    """The attempt that is over, if it is that one which was seen."""
    if seen.key is None:
        return None
    latest = unit.attempt
    for attempt in unit.status.attempts:
        if attempt.key == seen.key and (attempt is not latest or attempt in lost(unit)):
            return attempt
    return None


def matters(attempt: Attempt, seen: Observation) -> bool:
    """Whether a look at an attempt that is over has news that must be decided on."""
    if _came_back(attempt):
        return True
    if seen.state is State.FAILED:
        lost = FailureClass.BACKEND_LOST
        return attempt.failure_class is lost and seen.failure_class is not lost
    return seen.state not in (State.ABSENT, State.UNKNOWN)


def decide(unit: UnitView, attempt: Attempt, seen: Observation, now: datetime) -> UnitDecision:
    """Records what was seen, and ends the job if it lives."""
    if not matters(attempt, seen) or _settled(attempt):
        return UnitDecision(unit.status, requeue_after=pace.RETRY)
    if seen.state is State.UNKNOWN:
        lost_sight = status.unreachable(unit, seen.reason or reasons.UNREACHABLE, seen.message)
        attempts = status.with_attempt(unit, absence.interrupted(attempt))
        same = status.same(unit, now, lost_sight, attempts=attempts)
        return UnitDecision(same, requeue_after=pace.RETRY)
    if seen.state in _OVER:
        return _over(unit, attempt, seen, now)
    result = f"{seen.state}: the job came back after it was given up, and is being ended"
    attempt = attempt.model_copy(
        update={
            "handle": attempt.handle or seen.handle,
            "missing_since": None,
            "late_result": result,
        }
    )
    ask = seen.state is not State.TERMINATING
    return UnitDecision(
        _told(unit, attempt, now),
        (effects.CancelJob(attempt.number),) if ask else (),
        requeue_after=pace.RETRY,
    )


def _over(unit: UnitView, attempt: Attempt, seen: Observation, now: datetime) -> UnitDecision:
    result = seen.message or seen.reason
    left = 0.0
    if seen.state is State.ABSENT:
        attempt, left = absence.judge(unit, attempt, now)
        result = "the job came back after it was given up, and was ended"
    if left:
        same = status.same(unit, now, attempts=status.with_attempt(unit, attempt))
        return UnitDecision(same, requeue_after=min(left, pace.RETRY))
    text = f"{seen.state}: {result}"[:MAX_RESULT]
    attempt = attempt.model_copy(update={"late_result": text})
    same = status.same(unit, now, attempts=status.with_attempt(unit, attempt))
    return UnitDecision(same, requeue_after=pace.AT_ONCE)


def _told(unit: UnitView, attempt: Attempt, now: datetime) -> UnitStatus:
    return status.same(
        unit,
        now,
        *status.REACHABLE,
        attempts=status.with_attempt(unit, attempt),
        reason=reasons.LATE_JOB,
        message=f"the job of attempt {attempt.number}, which was given up as lost, has come back:"
        " it is ended first",
    )


def _settled(attempt: Attempt) -> bool:
    """Whether the last word on the attempt's job is recorded; it begins with the job's state."""
    return (attempt.late_result or "").startswith(tuple(f"{state}:" for state in _OVER))


def _came_back(attempt: Attempt) -> bool:
    """Whether the job of this lost attempt was seen alive, and is not known to have ended."""
    return attempt.late_result is not None and not _settled(attempt)
