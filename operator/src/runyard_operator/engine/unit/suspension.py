"""Suspend and resume: before a submit the unit is held, after it the job, where it can be."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from runyard.api.unit import Attempt
from runyard_operator.engine import conditions, effects, reasons
from runyard_operator.engine.conditions import Want
from runyard_operator.engine.observation import Observation, State
from runyard_operator.engine.unit import status
from runyard_operator.engine.unit.view import UnitDecision, UnitView

_BY_US: Final = frozenset(
    {reasons.SUSPENDING, reasons.SUSPENDED, reasons.RESUMING, reasons.RESUMED}
)
"""The attempt's job has been asked to suspend: whoever finds it suspended lets it go on."""

Steering = tuple[tuple[Want, ...], tuple[effects.UnitEffect, ...]]


def held(unit: UnitView, now: datetime) -> UnitDecision:
    """The unit has no job, and gets none before it is resumed."""
    return status.go_on(
        unit,
        now,
        reasons.SUSPENDED,
        "nothing is submitted while spec.suspend is true",
        (Want(conditions.SUSPENDED, "True", reasons.SUSPENDED),),
    )


def not_suspended(unit: UnitView) -> tuple[Want, ...]:
    """The condition of a unit that no suspend holds; none where there was never one."""
    if conditions.find(unit.status.conditions, conditions.SUSPENDED) is None:
        return ()
    return (Want(conditions.SUSPENDED, "False", reasons.NONE),)


def steer(unit: UnitView, attempt: Attempt, seen: Observation) -> Steering:
    """What a living job's state and the wish of the spec come to: condition and effect."""
    suspended = seen.state is State.SUSPENDED
    if unit.spec.suspend:
        if suspended:
            return (Want(conditions.SUSPENDED, "True", reasons.SUSPENDED),), ()
        if not unit.can_suspend:
            message = "the backend cannot suspend a job: it goes on"
            reason = reasons.SUSPEND_NOT_SUPPORTED
            return (Want(conditions.SUSPENDED, "False", reason, message),), ()
        wish = Want(conditions.SUSPENDED, "False", reasons.SUSPENDING)
        return (wish,), (effects.SuspendJob(attempt.number),)
    before = conditions.find(unit.status.conditions, conditions.SUSPENDED)
    if before is None or before.reason not in _BY_US:
        return not_suspended(unit), ()
    # A suspend that was asked for may take effect later than its answer: it is taken back, too.
    if suspended or before.reason in (reasons.SUSPENDING, reasons.SUSPENDED):
        wish = Want(conditions.SUSPENDED, conditions.truth(suspended), reasons.RESUMING)
        return (wish,), (effects.ResumeJob(attempt.number),)
    return (Want(conditions.SUSPENDED, "False", reasons.RESUMED),), ()


def stops_the_clock(unit: UnitView) -> bool:
    """Whether no deadline counts, because the job is to hold nothing."""
    return unit.spec.suspend and unit.can_suspend


def resumed_at(unit: UnitView, now: datetime) -> datetime | None:
    """When the unit was let go on, which may be just now; None when it was never suspended."""
    found = conditions.find(unit.status.conditions, conditions.SUSPENDED)
    if found is not None and found.status == "True":
        return now
    if found is None or found.reason not in (reasons.RESUMED, reasons.NONE):
        return None
    return found.last_transition_time
