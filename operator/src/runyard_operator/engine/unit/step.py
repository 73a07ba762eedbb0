"""The life of an ExecutionUnit: `step` looks at one unit and one fact and decides.

The order of the questions is the behaviour: ended? to be skipped? not yet tried? to be
cancelled? and only then: what does the backend say?
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from runyard.api.policy import FailureClass
from runyard.api.unit import Attempt, UnitPhase
from runyard_operator.engine import conditions, effects, naming, pace, reasons
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.observation import Observation, State
from runyard_operator.engine.unit import status
from runyard_operator.engine.unit.view import (
    Fact,
    Rejected,
    SubmitFailed,
    Submitted,
    UnitDecision,
    UnitView,
)


def needs_observation(unit: UnitView) -> bool:
    """Whether the backend must be asked before the unit can be decided on."""
    return unit.attempt is not None and not unit.ended


def step(unit: UnitView, fact: Fact, now: datetime) -> UnitDecision:
    """Decides what becomes of the unit, given one fact. Pure; a second run changes nothing."""
    if unit.ended:
        return _latched(unit)
    if unit.attempt is None:
        return _before_first_attempt(unit, fact, now)
    if unit.ending_wanted:
        return _cancelling(unit, fact, now)
    match fact:
        case Submitted():
            return _submitted(unit, fact, now)
        case SubmitFailed():
            return _submit_failed(unit, fact, now)
        case Observation():
            return _observed(unit, fact, now)
        case _:
            return UnitDecision(unit.status, requeue_after=pace.RETRY)


def _latched(unit: UnitView) -> UnitDecision:
    """Nothing reopens a finished unit: not its job's absence, not a late result, not a restart."""
    seen = unit.status.model_copy(update={"observed_generation": unit.generation})
    return UnitDecision(seen, (effects.ReleaseFinalizer(),) if unit.finalizer else ())


def _before_first_attempt(unit: UnitView, fact: Fact, now: datetime) -> UnitDecision:
    if unit.spec.skip is not None:
        return status.end(unit, now, unit.spec.skip.reason, unit.spec.skip.message)
    if unit.deleting:
        return status.end(unit, now, reasons.DELETED, "deleted before it was submitted")
    if unit.spec.cancel:
        return status.end(unit, now, reasons.CANCEL_REQUESTED, "cancelled before it was submitted")
    if isinstance(fact, Rejected):
        # Only here: once a job may exist, no new rule of ours may cut it loose.
        return status.end(unit, now, fact.reason, fact.message, accepted=False)
    if unit.spec.gates:
        names = ", ".join(gate.name for gate in unit.spec.gates)
        return status.go_on(unit, now, reasons.WAITING_FOR_TASKS, f"held by: {names}")
    if not unit.finalizer:
        # Seen again by the event of this very change; the job must never exist without it.
        decision = status.go_on(unit, now, reasons.QUEUED, "about to be submitted")
        return replace(decision, effects=(effects.AddFinalizer(),))
    first = Attempt(number=1, key=naming.attempt_key(unit.uid, 1), submit_time=now)
    decision = status.go_on(
        unit,
        now,
        reasons.SUBMITTING,
        "",
        (Want(conditions.SUBMITTED, "Unknown", reasons.SUBMITTING),),
        attempts=[first],
    )
    return replace(decision, effects=(effects.Submit(first.number),), requeue_after=pace.RETRY)


def _submitted(unit: UnitView, fact: Submitted, now: datetime) -> UnitDecision:
    attempt = status.submitted(status.current(unit), fact)
    message = f"{fact.handle.kind} {fact.handle.name}"
    decision = status.go_on(
        unit,
        now,
        reasons.SUBMITTED,
        message,
        (
            Want(conditions.CODE_STAGED, "True", reasons.DONE),
            Want(conditions.SUBMITTED, "True", reasons.SUBMITTED, message),
            *status.REACHABLE,
        ),
        attempts=status.with_attempt(unit, attempt),
    )
    return replace(decision, requeue_after=pace.RECHECK)


def _submit_failed(unit: UnitView, fact: SubmitFailed, now: datetime) -> UnitDecision:
    if fact.final:
        return status.fail(unit, now, FailureClass.LAUNCH_FAILED, fact.reason, fact.message)
    wants: tuple[Want, ...]
    if fact.stalled:
        wants = (Want(conditions.STALLED, "True", fact.reason, fact.message), *status.REACHABLE)
        wait = pace.STALLED
    else:
        wants = (Want(conditions.BACKEND_REACHABLE, "False", fact.reason, fact.message),)
        wait = pace.RETRY
    decision = status.go_on(unit, now, fact.reason, fact.message, wants)
    return replace(decision, requeue_after=wait)


def _observed(unit: UnitView, seen: Observation, now: datetime) -> UnitDecision:
    match seen.state:
        case State.UNKNOWN:
            return status.unreachable(unit, seen, now)
        case State.ABSENT:
            return _absent(unit, now)
        case State.SUCCEEDED:
            return status.succeed(unit, seen, now)
        case State.FAILED:
            return _failed(unit, seen, now)
        case State.TERMINATING:
            return _terminating(unit, seen, now)
        case State.WAITING | State.RUNNING | State.SUSPENDED:
            return _alive(unit, seen, now)


def _terminating(unit: UnitView, seen: Observation, now: datetime) -> UnitDecision:
    """Somebody else deletes the job. It was there: its absence later on is its end."""
    attempt = status.noted(status.current(unit), seen)
    decision = status.go_on(
        unit,
        now,
        reasons.WAITING,
        "the job is being deleted by somebody else than Runyard",
        (_was_submitted(attempt), *status.REACHABLE),
        attempts=status.with_attempt(unit, attempt),
    )
    return replace(decision, requeue_after=pace.RETRY)


def _was_submitted(attempt: Attempt) -> Want:
    message = f"{attempt.handle.kind} {attempt.handle.name}" if attempt.handle else ""
    return Want(conditions.SUBMITTED, "True", reasons.SUBMITTED, message)


def _alive(unit: UnitView, seen: Observation, now: datetime) -> UnitDecision:
    running = seen.state is State.RUNNING
    attempt = status.noted(status.current(unit), seen)
    reason = seen.reason or (reasons.RUNNING if running else reasons.WAITING)
    decision = status.go_on(
        unit,
        now,
        reason,
        seen.message,
        (
            _was_submitted(attempt),
            Want(conditions.RUNNING, conditions.truth(running), reason, seen.message),
            *status.REACHABLE,
        ),
        attempts=status.with_attempt(unit, attempt),
        start_time=unit.status.start_time or seen.start_time,
    )
    return replace(decision, requeue_after=pace.RECHECK)


def _cancelling(unit: UnitView, fact: Fact, now: datetime) -> UnitDecision:
    """Cancel is two-phase: `Cancelling` until the backend confirms that the job is gone."""
    attempt = status.current(unit)
    deleted = unit.deleting and not unit.spec.cancel
    reason = reasons.DELETED if deleted else reasons.CANCEL_REQUESTED
    seen = fact if isinstance(fact, Observation) else None
    if seen is not None and seen.state is State.SUCCEEDED:
        # It had finished before the cancel reached it: the result stands.
        return status.succeed(unit, seen, now)
    if seen is not None and seen.state in (State.ABSENT, State.FAILED):
        if seen.state is State.FAILED and unit.status.phase is not UnitPhase.CANCELLING:
            return _failed(unit, seen, now)
        ended = status.noted(attempt, seen, completion_time=now)
        return status.end(unit, now, reason, "cancelled", attempts=status.with_attempt(unit, ended))
    wants: tuple[Want, ...] = ()
    if seen is not None and seen.state is State.UNKNOWN:
        lost = seen.reason or reasons.UNREACHABLE
        wants = (Want(conditions.BACKEND_REACHABLE, "False", lost, seen.message),)
    elif seen is not None:
        attempt = status.noted(attempt, seen)
        wants = status.REACHABLE
    elif isinstance(fact, Submitted):
        attempt = status.submitted(attempt, fact)
        wants = status.REACHABLE
    decision = status.go_on(
        unit,
        now,
        reason,
        "waiting for the backend to confirm the cancel",
        wants,
        attempts=status.with_attempt(unit, attempt),
    )
    ask = seen is None or seen.state is not State.TERMINATING
    return replace(
        decision,
        effects=(effects.CancelJob(attempt.number),) if ask else (),
        requeue_after=pace.RETRY,
    )


def _failed(unit: UnitView, seen: Observation, now: datetime) -> UnitDecision:
    return status.fail(
        unit,
        now,
        seen.failure_class or FailureClass.ERROR,
        seen.reason or reasons.ERROR,
        seen.message,
        status.noted(status.current(unit), seen),
    )


def _absent(unit: UnitView, now: datetime) -> UnitDecision:
    attempt = status.current(unit)
    known = conditions.is_true(unit.status.conditions, conditions.SUBMITTED)
    if attempt.handle is None and not known:
        # A clear "there is none" of a look-up by key: the submit never arrived.
        return UnitDecision(
            unit.status, (effects.Submit(attempt.number),), requeue_after=pace.RETRY
        )
    job = f"{attempt.handle.kind} {attempt.handle.name}" if attempt.handle else "the job"
    message = f"{job} is gone without a result: it was deleted by somebody else than Runyard"
    return status.fail(unit, now, FailureClass.BACKEND_LOST, reasons.JOB_LOST, message)
