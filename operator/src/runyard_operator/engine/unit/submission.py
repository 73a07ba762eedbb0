"""What a submit brought: a job, a clear no, a wait for a human, or nothing that is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from runyard.api.policy import FailureClass
from runyard_operator.engine import conditions, pace, reasons
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.unit import deadlines, ends, status
from runyard_operator.engine.unit.view import SubmitFailed, Submitted, UnitDecision, UnitView


def worked(unit: UnitView, fact: Submitted, now: datetime) -> UnitDecision:
    """The job exists."""
    attempt = status.submitted(status.current(unit), fact)
    submitted = status.was_submitted(attempt)
    decision = status.go_on(
        unit,
        now,
        reasons.SUBMITTED,
        submitted.message,
        (Want(conditions.CODE_STAGED, "True", reasons.DONE), submitted, *status.REACHABLE),
        attempts=status.with_attempt(unit, attempt),
    )
    wait = deadlines.next_look(unit, attempt, now, pace.RECHECK)
    return replace(decision, requeue_after=wait)


def failed(unit: UnitView, fact: SubmitFailed, now: datetime) -> UnitDecision:
    """There is no job that we know of."""
    if fact.final:
        return ends.fail(unit, now, FailureClass.LAUNCH_FAILED, fact.reason, fact.message)
    attempt = status.current(unit)
    if fact.stalled:
        wants = (Want(conditions.STALLED, "True", fact.reason, fact.message), *status.REACHABLE)
        decision = status.go_on(unit, now, fact.reason, fact.message, wants)
        wait = deadlines.next_look(unit, attempt, now, pace.STALLED)
        return replace(decision, requeue_after=wait)
    # The outcome is not known: the next pass looks before it submits again.
    want = status.unreachable(unit, fact.reason, fact.message)
    decision = status.go_on(unit, now, fact.reason, want.message, (want,))
    return replace(decision, requeue_after=pace.RETRY)
