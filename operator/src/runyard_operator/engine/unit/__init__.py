"""The engine of one ExecutionUnit."""

from __future__ import annotations

from runyard_operator.engine.unit.step import needs_observation, step
from runyard_operator.engine.unit.view import (
    Fact,
    Rejected,
    SubmitFailed,
    Submitted,
    UnitDecision,
    UnitView,
)

__all__ = [
    "Fact",
    "Rejected",
    "SubmitFailed",
    "Submitted",
    "UnitDecision",
    "UnitView",
    "needs_observation",
    "step",
]
