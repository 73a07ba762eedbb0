"""How an attempt ends, and with it the unit, unless another attempt is due."""

from __future__ import annotations

from datetime import datetime

from runyard.api.constants import MAX_OUTPUT_BYTES
from runyard.api.policy import FailureClass
from runyard.api.unit import Attempt, OutputValue
from runyard_operator.engine import conditions, reasons
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.observation import Observation
from runyard_operator.engine.unit import retry, status
from runyard_operator.engine.unit.view import UnitDecision, UnitView


def succeed(unit: UnitView, seen: Observation, now: datetime) -> UnitDecision:
    """The end of a job that succeeded; all its declared outputs must have come with it."""
    outputs = dict(seen.outputs)
    problem = _unusable(unit, outputs)
    attempt = status.noted(
        status.current(unit),
        seen,
        completion_time=seen.completion_time or now,
        reason=reasons.SUCCEEDED,
        # A job that we had given up, and that was faster, has succeeded.
        failure_class=None,
        message=None,
    )
    if problem is not None:
        return fail(unit, now, FailureClass.ERROR, *problem, attempt)
    return status.finish(
        unit,
        now,
        Want(conditions.SUCCEEDED, "True", reasons.SUCCEEDED, seen.message),
        attempts=status.with_attempt(unit, attempt),
        outputs=[
            OutputValue(name=each.name, value=outputs[each.name]) for each in unit.spec.outputs
        ],
        artifacts=list(seen.artifacts),
        start_time=unit.status.start_time or seen.start_time,
        completion_time=attempt.completion_time,
    )


def _unusable(unit: UnitView, outputs: dict[str, str]) -> tuple[str, str] | None:
    """Reason and message where a declared output is missing or does not fit."""
    missing = [each.name for each in unit.spec.outputs if each.name not in outputs]
    if missing:
        return (
            reasons.OUTPUTS_MISSING,
            f"the job succeeded without the outputs {', '.join(missing)}: write each to"
            " $RUNYARD_OUTPUTS/<name>",
        )
    long = [each.name for each in unit.spec.outputs if len(outputs[each.name]) > MAX_OUTPUT_BYTES]
    if long:
        return (
            reasons.OUTPUTS_TOO_LARGE,
            f"the outputs {', '.join(long)} are longer than {MAX_OUTPUT_BYTES} bytes: write a file"
            " to shared storage and its path to the output",
        )
    return None


def adopted(unit: UnitView, now: datetime) -> UnitDecision:
    """The end of a unit whose work was done by an earlier one: nothing runs."""
    earlier = unit.spec.adopted
    if earlier is None:
        raise ValueError(f"unit {unit.name} adopts nothing")
    message = f"the result of unit {earlier.unit} of experiment {earlier.experiment}"
    return status.finish(
        unit,
        now,
        Want(conditions.SUCCEEDED, "True", reasons.ADOPTED, message),
        outputs=earlier.outputs,
    )


def failed(unit: UnitView, seen: Observation, now: datetime) -> UnitDecision:
    """The job failed by itself."""
    return fail(
        unit,
        now,
        seen.failure_class or FailureClass.ERROR,
        seen.reason or reasons.ERROR,
        seen.message,
        status.noted(status.current(unit), seen, completion_time=seen.completion_time or now),
    )


def fail(
    unit: UnitView,
    now: datetime,
    failure: FailureClass,
    reason: str,
    message: str,
    attempt: Attempt | None = None,
) -> UnitDecision:
    """The end of an attempt that failed: of the unit too, unless it is tried again."""
    attempt = attempt or status.current(unit)
    # A backend may happen to use one of our words for a cancel: it failed all the same.
    reason = str(failure) if reason in reasons.CANCEL_REASONS else reason
    attempt = attempt.model_copy(
        update={
            "failure_class": failure,
            "reason": reason,
            "message": message[: conditions.MAX_MESSAGE],
            "completion_time": attempt.completion_time or now,
        }
    )
    counts = retry.granted(unit, attempt)
    if counts is not None:
        return retry.begin_backoff(unit, attempt, counts, now)
    if attempt.number > 1:
        message = f"attempt {attempt.number}: {message}"
    return status.finish(
        unit,
        now,
        Want(conditions.SUCCEEDED, "False", reason, message),
        attempts=status.with_attempt(unit, attempt),
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
    attempt: Attempt | None = None,
) -> UnitDecision:
    """An end that no backend reported: skipped, cancelled, or never acceptable."""
    return status.finish(
        unit,
        now,
        Want(conditions.SUCCEEDED, "False", reason, message),
        accepted=Want(
            conditions.ACCEPTED,
            conditions.truth(accepted),
            reasons.ACCEPTED if accepted else reason,
            "" if accepted else message,
        ),
        attempts=status.with_attempt(unit, attempt) if attempt else unit.status.attempts,
    )
