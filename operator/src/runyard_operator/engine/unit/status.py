"""Builds the status of a unit: conditions first, the phase from them, nothing forgotten."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from runyard.api.base import Condition
from runyard.api.unit import MAX_LOG_LINE, MAX_LOG_LINES, Attempt, UnitPhase, UnitStatus
from runyard_operator.engine import conditions, reasons
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.observation import Observation, State
from runyard_operator.engine.unit.view import Submitted, UnitDecision, UnitView, condemned


def phase(unit: UnitView, current: list[Condition], attempts: list[Attempt]) -> UnitPhase:
    """The phase, computed from the conditions in this one place."""
    end = conditions.find(current, conditions.SUCCEEDED)
    if end is not None and end.status != "Unknown":
        return _result(unit, end, attempts)
    if not attempts:
        return UnitPhase.PENDING if unit.spec.gates else UnitPhase.QUEUED
    if attempts[-1].completion_time is not None:
        return UnitPhase.QUEUED
    if unit.ending_wanted or condemned(attempts[-1]):
        return UnitPhase.CANCELLING
    if conditions.is_true(current, conditions.RUNNING):
        return UnitPhase.RUNNING
    if conditions.is_true(current, conditions.SUBMITTED):
        return UnitPhase.WAITING
    held = conditions.is_true(current, conditions.SUSPENDED)
    return UnitPhase.QUEUED if held else UnitPhase.SUBMITTING


def _result(unit: UnitView, end: Condition, attempts: list[Attempt]) -> UnitPhase:
    if end.status == "True":
        return UnitPhase.SUCCEEDED
    if unit.spec.skip is not None and not attempts:
        too_large = unit.spec.skip.reason == reasons.INPUTS_TOO_LARGE
        return UnitPhase.FAILED if too_large else UnitPhase.SKIPPED
    return UnitPhase.CANCELLED if end.reason in reasons.CANCEL_REASONS else UnitPhase.FAILED


_ACCEPTED: Final = Want(conditions.ACCEPTED, "True", reasons.ACCEPTED)
REACHABLE: Final = (Want(conditions.BACKEND_REACHABLE, "True", reasons.REACHABLE),)


def unreachable(unit: UnitView, reason: str, message: str) -> Want:
    """The condition that the backend gives no answer.

    The first message stays while the reason does: an outage is told once, not at each try.
    """
    before = conditions.find(unit.status.conditions, conditions.BACKEND_REACHABLE)
    if before is not None and (before.status, before.reason) == ("False", reason):
        message = before.message
    return Want(conditions.BACKEND_REACHABLE, "False", reason, message)


def was_submitted(attempt: Attempt) -> Want:
    """The condition that the attempt's job was seen."""
    message = f"{attempt.handle.kind} {attempt.handle.name}" if attempt.handle else ""
    return Want(conditions.SUBMITTED, "True", reasons.SUBMITTED, message)


def same(unit: UnitView, now: datetime, *wants: Want, **changes: Any) -> UnitStatus:
    """The status as it is, with these conditions and fields; the phase stays."""
    merged = conditions.merge(unit.status.conditions, wants, generation=unit.generation, now=now)
    return unit.status.model_copy(
        update={**changes, "conditions": merged, "observed_generation": unit.generation}
    )


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


def finish(
    unit: UnitView, now: datetime, end: Want, accepted: Want = _ACCEPTED, **changes: Any
) -> UnitDecision:
    """The end of the unit, which is for ever."""
    wants = (
        accepted,
        end,
        Want(conditions.RUNNING, "False", end.reason),
        Want(conditions.RECONCILING, "False", reasons.DONE),
        Want(conditions.STALLED, "False", reasons.NONE),
    )
    changes = {"next_attempt_time": None, "completion_time": now, **changes}
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
    found = seen.state not in (State.ABSENT, State.UNKNOWN)
    return attempt.model_copy(
        update={
            "handle": attempt.handle or seen.handle,
            "node": seen.node or attempt.node,
            "exit_code": attempt.exit_code if seen.exit_code is None else seen.exit_code,
            "last_log_lines": _bounded(seen.last_log_lines) or attempt.last_log_lines,
            "start_time": attempt.start_time or seen.start_time,
            "missing_since": None if found else attempt.missing_since,
            **changes,
        }
    )


def _bounded(lines: tuple[str, ...]) -> list[str]:
    """The last lines, as many and as long as the schema takes."""
    return [line[:MAX_LOG_LINE] for line in lines[-MAX_LOG_LINES:]]


def submitted(attempt: Attempt, fact: Submitted) -> Attempt:
    """The attempt with the job that was made or adopted for it."""
    return attempt.model_copy(update={"handle": fact.handle, "plan_digest": fact.plan_digest})


def current(unit: UnitView) -> Attempt:
    """The latest attempt of a unit that has one."""
    attempt = unit.attempt
    if attempt is None:
        raise ValueError(f"unit {unit.name} has no attempt")
    return attempt


def with_attempt(unit: UnitView, attempt: Attempt) -> list[Attempt]:
    """The attempt records with the one of that number replaced."""
    return [attempt if each.number == attempt.number else each for each in unit.status.attempts]
