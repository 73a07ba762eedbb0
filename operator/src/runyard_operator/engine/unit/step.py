"""The life of an ExecutionUnit: `step` looks at one unit and one fact and decides.

The order of the questions is the behaviour: ended? is this about an attempt that is over? is
nothing at the backend? must the job end? and only then: what does the backend say?
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from runyard_operator.engine import effects, pace
from runyard_operator.engine.observation import Observation
from runyard_operator.engine.unit import archive, begin, ending, late, observed, submission
from runyard_operator.engine.unit.view import (
    Archived,
    Fact,
    SubmitFailed,
    Submitted,
    UnitDecision,
    UnitView,
    condemned,
)


def needs_observation(unit: UnitView) -> bool:
    """Whether the backend must be asked about the latest attempt before anything is decided."""
    return unit.attempt is not None and not unit.between_attempts and not unit.ended


def step(unit: UnitView, fact: Fact, now: datetime) -> UnitDecision:
    """Decides what becomes of the unit, given one fact. Pure; a second run changes nothing."""
    if unit.ended or isinstance(fact, Archived):
        return archive.record(unit, fact) if isinstance(fact, Archived) else _latched(unit)
    if isinstance(fact, Observation):
        earlier = late.about(unit, fact)
        if earlier is not None:
            return late.decide(unit, earlier, fact, now)
    if unit.attempt is None or unit.between_attempts:
        decision = begin.step(unit, fact, now)
        return replace(decision, effects=(*archive.due(unit), *decision.effects))
    if isinstance(fact, Observation) and fact.key not in (None, unit.attempt.key):
        return UnitDecision(unit.status, requeue_after=pace.RETRY)  # its record is gone
    if unit.ending_wanted or condemned(unit.attempt):
        return ending.step(unit, fact, now)
    match fact:
        case Submitted():
            return submission.worked(unit, fact, now)
        case SubmitFailed():
            return submission.failed(unit, fact, now)
        case Observation():
            return observed.step(unit, fact, now)
        case _:
            return UnitDecision(unit.status, requeue_after=pace.RETRY)


def _latched(unit: UnitView) -> UnitDecision:
    """Nothing reopens a finished unit: not its job's absence, not a late result, not a restart."""
    seen = unit.status.model_copy(update={"observed_generation": unit.generation})
    if unit.finalizer and not unit.noted:
        # Without it the unit could vanish, and its task be taken for one that was never begun.
        return UnitDecision(seen, archive.due(unit), requeue_after=pace.RETRY)
    release = (effects.ReleaseFinalizer(),) if unit.finalizer else ()
    return UnitDecision(seen, (*archive.due(unit), *release))
