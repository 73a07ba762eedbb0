"""An Experiment and its units as they were read, and the decision on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runyard.api.code import Code
from runyard.api.experiment import ExperimentSpec, ExperimentStatus
from runyard.api.profile import ProfileSpec
from runyard.api.unit import UnitPhase, UnitSpec, UnitStatus
from runyard_operator.engine import effects


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskUnit:
    """The ExecutionUnit that this experiment made for a task."""

    uid: str
    spec: UnitSpec
    status: UnitStatus
    deleting: bool = False

    @property
    def phase(self) -> UnitPhase:
        """The written phase; a unit that was never looked at is Pending."""
        return self.status.phase or UnitPhase.PENDING


@dataclass(frozen=True, slots=True)
class Foreign:
    """A unit that has the name which a task's unit needs, and another owner."""

    name: str
    deleting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentView:
    """An Experiment as it was read.

    `units` holds the unit of each task that has one. A task that is in neither `units` nor
    `foreign` surely has no unit: whoever makes the view has asked the API server, not a cache.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    spec: ExperimentSpec
    status: ExperimentStatus
    units: Mapping[str, TaskUnit] = field(default_factory=dict)
    foreign: Mapping[str, Foreign] = field(default_factory=dict)
    profiles: Mapping[str, ProfileSpec] = field(default_factory=dict)
    staged_code: Code | None = None
    """What the units name as their code, once `StageCode` was done."""
    deleting: bool = False
    finalizer: bool = True

    @property
    def ended(self) -> bool:
        """Whether the written phase is terminal, which is for ever."""
        return self.status.completion_time is not None


@dataclass(frozen=True, slots=True)
class ExperimentDecision:
    """The status to write first, then the effects in order, then when to look again."""

    status: ExperimentStatus
    effects: tuple[effects.ExperimentEffect, ...] = ()
    requeue_after: float | None = None
