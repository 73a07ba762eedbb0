"""Builds the status of a unit: conditions first, the phase from them, nothing forgotten."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from runyard.api.base import Condition
from runyard.api.constants import MAX_OUTPUT_BYTES
from runyard.api.policy import FailureClass
from runyard.api.unit import (
    MAX_LOG_LINE,
    MAX_LOG_LINES,
    Attempt,
    OutputValue,
    UnitPhase,
    UnitStatus,
)
from runyard_operator.engine import conditions, pace, reasons
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.observation import Observation
from runyard_operator.engine.unit.view import Submitted, UnitDecision, UnitView


def phase(unit: UnitView, current: list[Condition], attempts: list[Attempt]) -> UnitPhase:
    """The phase, computed from the conditions in this one place."""
    end = conditions.find(current, conditions.SUCCEEDED)
    if end is not None and end.status == "True":
        return UnitPhase.SUCCEEDED
    if end is not None and end.status == "False":
        if unit.spec.skip is not None and not attempts:
            return UnitPhase.SKIPPED
        # The class tells the failure of a job whose backend happens to use one of our reasons.
        failed = attempts and attempts[-1].failure_class is not None
        cancelled = end.reason in reasons.CANCEL_REASONS and not failed
        return UnitPhase.CANCELLED if cancelled else UnitPhase.FAILED
    if not attempts:
        return UnitPhase.PENDING if unit.spec.gates else UnitPhase.QUEUED
    if unit.ending_wanted:
        return UnitPhase.CANCELLING
    if conditions.is_true(current, conditions.RUNNING):
        return UnitPhase.RUNNING
    if conditions.is_true(current, conditions.SUBMITTED):
        return UnitPhase.WAITING
    return UnitPhase.SUBMITTING


def succeed(unit: UnitView, seen: Observation, now: datetime) -> UnitDecision:
    """The end of a job that succeeded; all its declared outputs must have come with it."""
    outputs = dict(seen.outputs)
    missing = [each.name for each in unit.spec.outputs if each.name not in outputs]
    if missing:
        return _without_outputs(
            unit,
            seen,
            now,
            reasons.OUTPUTS_MISSING,
            f"the job succeeded without the outputs {', '.join(missing)}: write each to"
            " $RUNYARD_OUTPUTS/<name>",
        )
    long = [each.name for each in unit.spec.outputs if len(outputs[each.name]) > MAX_OUTPUT_BYTES]
    if long:
        return _without_outputs(
            unit,
            seen,
            now,
            reasons.OUTPUTS_TOO_LARGE,
            f"the outputs {', '.join(long)} are longer than {MAX_OUTPUT_BYTES} bytes: write a file"
            " to shared storage and its path to the output",
        )
    attempt = noted(current(unit), seen, completion_time=now, reason=reasons.SUCCEEDED)
    return _finish(
        unit,
        now,
        Want(conditions.SUCCEEDED, "True", reasons.SUCCEEDED, seen.message),
        attempts=with_attempt(unit, attempt),
        outputs=[
            OutputValue(name=each.name, value=outputs[each.name]) for each in unit.spec.outputs
        ],
        start_time=unit.status.start_time or seen.start_time,
        completion_time=attempt.completion_time,
    )


def _without_outputs(
    unit: UnitView, seen: Observation, now: datetime, reason: str, message: str
) -> UnitDecision:
    attempt = noted(current(unit), seen)
    return fail(unit, now, FailureClass.ERROR, reason, message, attempt)


def fail(
    unit: UnitView,
    now: datetime,
    failure: FailureClass,
    reason: str,
    message: str,
    attempt: Attempt | None = None,
) -> UnitDecision:
    """The end of an attempt that failed, with its class."""
    attempt = attempt or current(unit)
    attempt = attempt.model_copy(
        update={
            "failure_class": failure,
            "reason": reason,
            "message": message[: conditions.MAX_MESSAGE],
            "completion_time": attempt.completion_time or now,
        }
    )
    return _finish(
        unit,
        now,
        Want(conditions.SUCCEEDED, "False", reason, message),
        attempts=with_attempt(unit, attempt),
        start_time=unit.status.start_time or attempt.start_time,
        completion_time=attempt.completion_time,
    )


def end(
    unit: UnitView,
    now: datetime,
    reason: str,
    message: str,
    *,
    accepted: bool = True,
    attempts: list[Attempt] | None = None,
) -> UnitDecision:
    """An end that no backend reported: skipped, cancelled, or never acceptable."""
    return _finish(
        unit,
        now,
        Want(conditions.SUCCEEDED, "False", reason, message),
        accepted=Want(
            conditions.ACCEPTED,
            conditions.truth(accepted),
            reasons.ACCEPTED if accepted else reason,
            "" if accepted else message,
        ),
        attempts=unit.status.attempts if attempts is None else attempts,
        completion_time=now,
    )


def unreachable(unit: UnitView, seen: Observation, now: datetime) -> UnitDecision:
    """Unreachable is a condition, never a phase: the job may be in the best of health."""
    reason = seen.reason or reasons.UNREACHABLE
    same_phase = unit.status.model_copy(
        update={
            "conditions": conditions.merge(
                unit.status.conditions,
                (Want(conditions.BACKEND_REACHABLE, "False", reason, seen.message),),
                generation=unit.generation,
                now=now,
            ),
            "observed_generation": unit.generation,
        }
    )
    return UnitDecision(same_phase, requeue_after=pace.RETRY)


_ACCEPTED: Final = Want(conditions.ACCEPTED, "True", reasons.ACCEPTED)
REACHABLE: Final = (Want(conditions.BACKEND_REACHABLE, "True", reasons.REACHABLE),)


def go_on(
    unit: UnitView,
    now: datetime,
    reason: str,
    message: str,
    wants: tuple[Want, ...] = (),
    **changes: Any,
) -> UnitDecision:
    """A status on the way; `wants` are laid over what every unfinished unit says."""
    stalled = any(each.type == conditions.STALLED for each in wants)
    common = (
        _ACCEPTED,
        Want(conditions.SUCCEEDED, "Unknown", reasons.IN_PROGRESS),
        Want(conditions.RECONCILING, conditions.truth(not stalled), reason),
        *(() if stalled else (Want(conditions.STALLED, "False", reasons.NONE),)),
    )
    return UnitDecision(_status(unit, now, reason, message, (*common, *wants), changes))


def _finish(
    unit: UnitView, now: datetime, end: Want, accepted: Want = _ACCEPTED, **changes: Any
) -> UnitDecision:
    wants = (
        accepted,
        end,
        Want(conditions.RUNNING, "False", end.reason),
        Want(conditions.RECONCILING, "False", reasons.DONE),
        Want(conditions.STALLED, "False", reasons.NONE),
    )
    status = _status(unit, now, end.reason, end.message, wants, changes)
    # The finalizer goes in the next pass, once the API server holds the end: an end that was
    # decided but not written must be found again.
    return UnitDecision(status, requeue_after=0.0)


def _status(
    unit: UnitView,
    now: datetime,
    reason: str,
    message: str,
    wants: tuple[Want, ...],
    changes: dict[str, Any],
) -> UnitStatus:
    merged = conditions.merge(unit.status.conditions, wants, generation=unit.generation, now=now)
    attempts = changes.get("attempts", unit.status.attempts)
    return unit.status.model_copy(
        update={
            **changes,
            "observed_generation": unit.generation,
            "conditions": merged,
            "phase": phase(unit, merged, attempts),
            "reason": reason,
            "message": message[: conditions.MAX_MESSAGE] or None,
        }
    )


def noted(attempt: Attempt, seen: Observation, **changes: Any) -> Attempt:
    """The attempt with what was seen; what is known already is never forgotten."""
    return attempt.model_copy(
        update={
            **changes,
            "handle": attempt.handle or seen.handle,
            "node": seen.node or attempt.node,
            "exit_code": attempt.exit_code if seen.exit_code is None else seen.exit_code,
            "last_log_lines": _bounded(seen.last_log_lines) or attempt.last_log_lines,
            "start_time": attempt.start_time or seen.start_time,
            "completion_time": seen.completion_time
            or changes.get("completion_time")
            or attempt.completion_time,
        }
    )


def _bounded(lines: tuple[str, ...]) -> list[str]:
    """The last lines, as many and as long as the schema takes."""
    return [line[:MAX_LOG_LINE] for line in lines[-MAX_LOG_LINES:]]


def submitted(attempt: Attempt, fact: Submitted) -> Attempt:
    """The attempt with the job that was made or adopted for it."""
    return attempt.model_copy(update={"handle": fact.handle, "plan_digest": fact.plan_digest})


def current(unit: UnitView) -> Attempt:
    """The current attempt of a unit that has one."""
    attempt = unit.attempt
    if attempt is None:
        raise ValueError(f"unit {unit.name} has no attempt")
    return attempt


def with_attempt(unit: UnitView, attempt: Attempt) -> list[Attempt]:
    """The attempt records with the current one replaced."""
    return [*unit.status.attempts[:-1], attempt]
