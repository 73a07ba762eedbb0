"""The end of a job that we want to end: two-phase, `Cancelling` until the backend confirms."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from runyard.api.policy import FailureClass
from runyard.api.unit import Attempt, UnitPhase
from runyard_operator.engine import effects, pace, reasons
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.observation import Observation, State
from runyard_operator.engine.unit import absence, ends, status
from runyard_operator.engine.unit.view import (
    Fact,
    Submitted,
    UnitDecision,
    UnitView,
)


def step(unit: UnitView, fact: Fact, now: datetime) -> UnitDecision:
    """Decides on a unit whose job must end: somebody wants it, or its deadline does."""
    attempt = status.current(unit)
    if not isinstance(fact, Observation):
        if isinstance(fact, Submitted):
            return _asked(unit, status.submitted(attempt, fact), now, status.REACHABLE)
        return _asked(unit, attempt, now)
    match fact.state:
        case State.SUCCEEDED:
            # It had finished before the cancel reached it: the result stands.
            return ends.succeed(unit, fact, now)
        case State.FAILED:
            return _failed(unit, attempt, fact, now)
        case State.ABSENT:
            attempt, left = absence.judge(unit, attempt, now)
            if left:
                decision = _asked(unit, attempt, now, status.REACHABLE)
                return replace(decision, requeue_after=min(left, pace.RETRY))
            return _confirmed(unit, status.noted(attempt, fact, completion_time=now), now)
        case State.UNKNOWN:
            reason = fact.reason or reasons.UNREACHABLE
            want = status.unreachable(unit, reason, fact.message)
            return _asked(unit, absence.interrupted(attempt), now, (want,))
        case _:
            decision = _asked(unit, status.noted(attempt, fact), now, status.REACHABLE)
            told = fact.state is State.TERMINATING
            return replace(decision, effects=()) if told else decision


def condemn(
    unit: UnitView, attempt: Attempt, verdict: tuple[str, str], seen: Observation, now: datetime
) -> UnitDecision:
    """The attempt's time is over: that is written first, then its job is ended."""
    reason, message = verdict
    attempt = attempt.model_copy(
        update={"failure_class": FailureClass.TIMEOUT, "reason": reason, "message": message}
    )
    judged = unit.status.model_copy(update={"attempts": status.with_attempt(unit, attempt)})
    return step(replace(unit, status=judged), seen, now)


def _failed(unit: UnitView, attempt: Attempt, seen: Observation, now: datetime) -> UnitDecision:
    if unit.status.phase is not UnitPhase.CANCELLING:
        # It had failed before anybody wanted its end.
        return ends.failed(unit, seen, now)
    ended = status.noted(attempt, seen, completion_time=seen.completion_time or now)
    return _confirmed(unit, ended, now)


def _confirmed(unit: UnitView, attempt: Attempt, now: datetime) -> UnitDecision:
    if unit.ending_wanted or attempt.failure_class is None:
        return ends.end(unit, now, _reason(unit, attempt), "cancelled", attempt=attempt)
    reason, message = _reason(unit, attempt), attempt.message or ""
    return ends.fail(unit, now, attempt.failure_class, reason, message, attempt)


def _asked(
    unit: UnitView, attempt: Attempt, now: datetime, wants: tuple[Want, ...] = ()
) -> UnitDecision:
    message = "waiting for the backend to confirm the cancel"
    if not unit.ending_wanted:
        message = f"{attempt.message}: {message}"
    decision = status.go_on(
        unit,
        now,
        _reason(unit, attempt),
        message,
        wants,
        attempts=status.with_attempt(unit, attempt),
    )
    return replace(decision, effects=(effects.CancelJob(attempt.number),), requeue_after=pace.RETRY)


def _reason(unit: UnitView, attempt: Attempt) -> str:
    if not unit.ending_wanted:
        return attempt.reason or reasons.DEADLINE_EXCEEDED
    deleted = unit.deleting and not unit.spec.cancel
    return reasons.DELETED if deleted else reasons.CANCEL_REQUESTED
