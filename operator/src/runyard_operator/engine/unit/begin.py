"""Before an attempt, the first one or the next: what ends the unit, what holds it, how it begins.

No job of the unit exists here: none was made yet, or the one before is surely over.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from runyard.api.unit import MAX_ATTEMPTS, Attempt
from runyard_operator.engine import conditions, effects, naming, pace, reasons
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.unit import ends, retry, status, suspension
from runyard_operator.engine.unit.view import Fact, Rejected, UnitDecision, UnitView


def step(unit: UnitView, fact: Fact, now: datetime) -> UnitDecision:
    """Decides on a unit of which nothing is at the backend."""
    over = _never_begun(unit, fact, now) if unit.attempt is None else _given_up(unit, now)
    if over is not None:
        return over
    if unit.spec.gates and unit.attempt is None:
        names = ", ".join(gate.name for gate in unit.spec.gates)
        return status.go_on(unit, now, reasons.WAITING_FOR_TASKS, f"held by: {names}")
    if unit.spec.suspend:
        return suspension.held(unit, now)
    waits = retry.still_waits(unit, now)
    if waits is not None:
        return waits
    if not unit.finalizer:
        # Looked at again right after; the job must never exist without it. No status of its own:
        # the next one says all that this one could.
        return UnitDecision(unit.status, effects=(effects.AddFinalizer(),))
    return _begin(unit, now)


def _never_begun(unit: UnitView, fact: Fact, now: datetime) -> UnitDecision | None:
    if unit.spec.skip is not None:
        return ends.end(unit, now, unit.spec.skip.reason, unit.spec.skip.message)
    if unit.spec.adopted is not None:
        return ends.adopted(unit, now)
    if unit.deleting:
        return ends.end(unit, now, reasons.DELETED, "deleted before it was submitted")
    if unit.spec.cancel:
        return ends.end(unit, now, reasons.CANCEL_REQUESTED, "cancelled before it was submitted")
    if isinstance(fact, Rejected):
        # Only here: once a job may exist, no new rule of ours may cut it loose.
        return ends.end(unit, now, fact.reason, fact.message, accepted=False)
    return None


def _given_up(unit: UnitView, now: datetime) -> UnitDecision | None:
    if not unit.ending_wanted:
        return None
    deleted = unit.deleting and not unit.spec.cancel
    reason = reasons.DELETED if deleted else reasons.CANCEL_REQUESTED
    return ends.end(unit, now, reason, "ended while it waited for its next attempt")


def _begin(unit: UnitView, now: datetime) -> UnitDecision:
    """The intent: number and key are written before the backend hears of the attempt."""
    number = unit.attempt.number + 1 if unit.attempt else 1
    attempt = Attempt(
        number=number,
        key=naming.attempt_key(unit.uid, number),
        epoch=unit.epoch,
        submit_time=now,
    )
    decision = status.go_on(
        unit,
        now,
        reasons.SUBMITTING,
        "",
        (
            Want(conditions.SUBMITTED, "Unknown", reasons.SUBMITTING),
            *suspension.not_suspended(unit),
        ),
        attempts=[*unit.status.attempts, attempt][-MAX_ATTEMPTS:],
        next_attempt_time=None,
    )
    return replace(decision, effects=(effects.Submit(number),), requeue_after=pace.RETRY)
