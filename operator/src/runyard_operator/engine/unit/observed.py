"""What the backend says about the current attempt's job, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from runyard.api.policy import FailureClass
from runyard.api.unit import Attempt, UnitStatus
from runyard_operator.engine import conditions, effects, pace, reasons
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.observation import Observation, State
from runyard_operator.engine.unit import absence, deadlines, ending, ends, status, suspension
from runyard_operator.engine.unit.view import UnitDecision, UnitView


def step(unit: UnitView, seen: Observation, now: datetime) -> UnitDecision:
    """Decides on a unit whose job nobody wants to end."""
    match seen.state:
        case State.UNKNOWN:
            return _unreachable(unit, seen, now)
        case State.ABSENT:
            return _absent(unit, seen, now)
        case State.SUCCEEDED:
            return ends.succeed(unit, seen, now)
        case State.FAILED:
            return ends.failed(unit, seen, now)
        case State.TERMINATING:
            return _terminating(unit, seen, now)
        case State.WAITING | State.RUNNING | State.SUSPENDED:
            return _alive(unit, seen, now)


def _unreachable(unit: UnitView, seen: Observation, now: datetime) -> UnitDecision:
    """Unreachable is a condition, never a phase: the job may be in the best of health."""
    want = status.unreachable(unit, seen.reason or reasons.UNREACHABLE, seen.message)
    attempt = absence.interrupted(status.current(unit))
    same = status.same(unit, now, want, attempts=status.with_attempt(unit, attempt))
    return UnitDecision(same, requeue_after=pace.RETRY)


def _terminating(unit: UnitView, seen: Observation, now: datetime) -> UnitDecision:
    """Somebody else deletes the job. It was there: its absence later on is its end."""
    attempt = status.noted(status.current(unit), seen)
    decision = status.go_on(
        unit,
        now,
        reasons.WAITING,
        "the job is being deleted by somebody else than Runyard",
        (status.was_submitted(attempt), *status.REACHABLE),
        attempts=status.with_attempt(unit, attempt),
    )
    return replace(decision, requeue_after=pace.RETRY)


def _alive(unit: UnitView, seen: Observation, now: datetime) -> UnitDecision:
    attempt = _at_work(status.current(unit), seen, now)
    verdict = deadlines.exceeded(unit, attempt, now)
    if verdict is not None:
        return ending.condemn(unit, attempt, verdict, seen, now)
    wants, acts = suspension.steer(unit, attempt, seen)
    running = seen.state is State.RUNNING
    suspended = seen.state is State.SUSPENDED
    usual = {State.RUNNING: reasons.RUNNING, State.SUSPENDED: reasons.SUSPENDED}
    reason = seen.reason or usual.get(seen.state, reasons.WAITING)
    if suspended and unit.spec.suspend:
        reason = reasons.SUSPENDED
    decision = status.go_on(
        unit,
        now,
        reason,
        seen.message,
        (
            status.was_submitted(attempt),
            Want(conditions.RUNNING, conditions.truth(running), reason, seen.message),
            *status.REACHABLE,
            *wants,
        ),
        attempts=status.with_attempt(unit, attempt),
        start_time=unit.status.start_time or attempt.start_time,
        dashboard_url=seen.dashboard_url or unit.status.dashboard_url,
    )
    usually = pace.QUEUED if seen.queued else pace.RECHECK
    wait = deadlines.next_look(unit, attempt, now, pace.RETRY if acts else usually)
    return replace(decision, effects=acts, requeue_after=wait)


def _at_work(attempt: Attempt, seen: Observation, now: datetime) -> Attempt:
    """The attempt with the time since when it runs; whoever suspends it puts it back in a queue."""
    attempt = status.noted(attempt, seen)
    if (seen.state is State.SUSPENDED or seen.queued) and attempt.start_time is not None:
        return attempt.model_copy(update={"start_time": None, "submit_time": now})
    if seen.state is State.RUNNING and attempt.start_time is None:
        return attempt.model_copy(update={"start_time": now})
    return attempt


def _absent(unit: UnitView, seen: Observation, now: datetime) -> UnitDecision:
    attempt, left = absence.judge(unit, status.current(unit), now)
    known = attempt.handle is not None or conditions.is_true(
        unit.status.conditions, conditions.SUBMITTED
    )
    job = f"{attempt.handle.kind} {attempt.handle.name}" if attempt.handle else "the job"
    if left:
        wait = min(left, pace.RETRY)
        attempts = status.with_attempt(unit, attempt)
        if not known:
            return UnitDecision(status.same(unit, now, attempts=attempts), requeue_after=wait)
        message = f"the backend does not find {job}: it is looked for until that is sure"
        decision = status.go_on(
            unit, now, reasons.JOB_NOT_FOUND, message, status.REACHABLE, attempts=attempts
        )
        return replace(decision, requeue_after=wait)
    if not known:
        return _never_arrived(unit, attempt, seen, now)
    message = f"{job} is gone without a result: it was deleted by somebody else than Runyard"
    return ends.fail(unit, now, FailureClass.BACKEND_LOST, reasons.JOB_LOST, message, attempt)


def _never_arrived(
    unit: UnitView, attempt: Attempt, seen: Observation, now: datetime
) -> UnitDecision:
    """A clear "there is none" of a look-up by key: the submit never arrived, and is made again."""
    if unit.spec.suspend:
        return suspension.held(unit, now)
    verdict = deadlines.exceeded(unit, attempt, now)
    if verdict is not None:
        return ending.condemn(unit, attempt, verdict, seen, now)
    again = _not_held(unit, now)
    if unit.settle_seconds or attempt.epoch != unit.epoch:
        # Intent before effect here, too: the time to settle begins, and an earlier leader that
        # still believes in itself finds that it has been overtaken.
        update = {
            "submit_time": now,
            "epoch": unit.epoch,
            "missing_since": now if unit.settle_seconds else None,
        }
        attempt = attempt.model_copy(update=update)
        again = again.model_copy(update={"attempts": status.with_attempt(unit, attempt)})
    wait = deadlines.next_look(unit, attempt, now, pace.RETRY)
    return UnitDecision(again, (effects.Submit(attempt.number),), requeue_after=wait)


def _not_held(unit: UnitView, now: datetime) -> UnitStatus:
    """The status, without the suspend that held a submit back."""
    if not conditions.is_true(unit.status.conditions, conditions.SUSPENDED):
        return unit.status
    wants = suspension.not_suspended(unit)
    return status.go_on(unit, now, reasons.SUBMITTING, "", wants).status
