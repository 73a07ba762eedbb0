"""The engine of an Experiment."""

from __future__ import annotations

from runyard_operator.engine.experiment.plan import plan
from runyard_operator.engine.experiment.view import (
    ExperimentDecision,
    ExperimentView,
    Foreign,
    TaskUnit,
)

__all__ = ["ExperimentDecision", "ExperimentView", "Foreign", "TaskUnit", "plan"]
