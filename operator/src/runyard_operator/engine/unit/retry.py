"""Whether a failed attempt is followed by another, and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

from runyard.api.policy import FailureClass, Retry
from runyard.api.unit import Attempt, RetryCounts
from runyard_operator.engine import conditions, pace, reasons
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.unit import status, suspension
from runyard_operator.engine.unit.view import UnitDecision, UnitView


def granted(unit: UnitView, attempt: Attempt) -> RetryCounts | None:
    """The retries with the one after this failed attempt; None when there is none.

    Failures of the place and failures of the program have a limit each.
    """
    policy, failure = unit.spec.retry, attempt.failure_class
    if policy is None or failure is None or unit.ending_wanted:
        return None
    if not _wanted(policy, failure, attempt.exit_code):
        return None
    counts = unit.status.retries or RetryCounts()
    if failure.infrastructure:
        if counts.infrastructure >= _infrastructure_limit(policy):
            return None
        return counts.model_copy(update={"infrastructure": counts.infrastructure + 1})
    if counts.user >= policy.limit:
        return None
    return counts.model_copy(update={"user": counts.user + 1})


def _wanted(policy: Retry, failure: FailureClass, exit_code: int | None) -> bool:
    if failure is FailureClass.ERROR and policy.exit_codes and exit_code not in policy.exit_codes:
        return False
    return (
        failure in policy.failure_classes
        if policy.failure_classes
        else failure is not FailureClass.LAUNCH_FAILED
    )


def _infrastructure_limit(policy: Retry) -> int:
    limit = policy.infrastructure_limit
    return policy.limit if limit is None else limit


def backoff(policy: Retry, attempt: Attempt) -> timedelta:
    """How long the next attempt waits after this one, in whole seconds.

    The jitter comes from the attempt's key: whoever computes it again gets the same.
    """
    wait = policy.backoff
    full = min(wait.seconds * wait.factor ** (attempt.number - 1), wait.max_seconds)
    chance = int.from_bytes(sha256(attempt.key.encode()).digest()[:4], "big") / 2**32
    return timedelta(seconds=full - round(full * wait.jitter_percent / 100 * chance))


def begin_backoff(
    unit: UnitView, attempt: Attempt, counts: RetryCounts, now: datetime
) -> UnitDecision:
    """The end of an attempt that another one follows."""
    policy = unit.spec.retry
    due = now + (backoff(policy, attempt) if policy else timedelta())
    decision = _waiting(
        unit,
        attempt,
        due,
        now,
        attempts=status.with_attempt(unit, attempt),
        retries=counts,
        start_time=unit.status.start_time or attempt.start_time,
    )
    if unit.spec.suspend:
        return suspension.held(replace(unit, status=decision.status), now)
    return decision


def still_waits(unit: UnitView, now: datetime) -> UnitDecision | None:
    """The wait between two attempts; None when it is over.

    A clock that was set back cannot make it longer than a whole backoff from now.
    """
    due, policy = unit.status.next_attempt_time, unit.spec.retry
    attempt = unit.attempt
    if due is None or policy is None or attempt is None:
        return None
    due = min(due, now + backoff(policy, attempt))
    return _waiting(unit, attempt, due, now) if due > now else None


def _waiting(
    unit: UnitView, attempt: Attempt, due: datetime, now: datetime, **changes: object
) -> UnitDecision:
    counts = changes.get("retries", unit.status.retries)
    wants = (
        Want(conditions.SUBMITTED, "False", reasons.RETRYING),
        Want(conditions.RUNNING, "False", reasons.RETRYING),
    )
    message = _message(unit, attempt, counts, due) if isinstance(counts, RetryCounts) else ""
    decision = status.go_on(
        unit, now, reasons.RETRYING, message, wants, next_attempt_time=due, **changes
    )
    wait = (due - now).total_seconds()
    return UnitDecision(decision.status, requeue_after=max(wait, pace.AT_ONCE))


def _message(unit: UnitView, attempt: Attempt, counts: RetryCounts, due: datetime) -> str:
    """What failed, which retry of how many follows, and when."""
    policy = unit.spec.retry
    if policy is None or attempt.failure_class is None:
        return ""
    kind, number, limit = "", counts.user, policy.limit
    if attempt.failure_class.infrastructure:
        limit = _infrastructure_limit(policy)
        kind, number = "infrastructure ", counts.infrastructure
    code = "" if attempt.exit_code is None else f", exit code {attempt.exit_code}"
    return (
        f"{kind}retry {number} of {limit} at {due:%Y-%m-%dT%H:%M:%SZ}; attempt {attempt.number}"
        f" failed ({attempt.failure_class}{code}): {attempt.message or attempt.reason}"
    )
