"""The engine of one ExecutionUnit."""

from __future__ import annotations

from runyard_operator.engine.unit.late import lost as lost_attempts
from runyard_operator.engine.unit.late import matters as tells_of_lost
from runyard_operator.engine.unit.step import needs_observation, step
from runyard_operator.engine.unit.view import (
    Archived,
    Fact,
    Rejected,
    SubmitFailed,
    Submitted,
    UnitDecision,
    UnitView,
)

__all__ = [
    "Archived",
    "Fact",
    "Rejected",
    "SubmitFailed",
    "Submitted",
    "UnitDecision",
    "UnitView",
    "lost_attempts",
    "needs_observation",
    "step",
    "tells_of_lost",
]
