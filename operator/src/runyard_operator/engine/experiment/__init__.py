"""The engine of an Experiment."""

from __future__ import annotations

from runyard_operator.engine.experiment.plan import plan
from runyard_operator.engine.experiment.view import (
    Earlier,
    ExperimentDecision,
    ExperimentView,
    Fact,
    Foreign,
    NotStaged,
    Planned,
    SlotUnit,
    Staged,
)

__all__ = [
    "Earlier",
    "ExperimentDecision",
    "ExperimentView",
    "Fact",
    "Foreign",
    "NotStaged",
    "Planned",
    "SlotUnit",
    "Staged",
    "plan",
]
