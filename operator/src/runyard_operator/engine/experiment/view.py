"""An Experiment and its units as they were read, and the decision on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runyard.api.code import Code
from runyard.api.experiment import ExperimentSpec, ExperimentStatus, StagedCode, UsedProfile
from runyard.api.profile import ProfileSpec
from runyard.api.unit import UnitPhase
from runyard_operator.engine import effects
from runyard_operator.engine.slots import Layout, Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotUnit:
    """The ExecutionUnit of a slot, as far as its experiment looks at it.

    Plain values only: there may be ten thousand of them in one pass.
    """

    name: str
    uid: str
    phase: UnitPhase = UnitPhase.PENDING
    deleting: bool = False
    finalizer: bool = True
    cancel: bool = False
    suspend: bool = False
    suspended: bool = False
    """Whether the unit holds nothing because it is suspended."""
    skip: str | None = None
    """The reason of the verdict that it must never run."""
    reason: str | None = None
    message: str | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A unit that has the name which a slot's unit needs, and another owner."""

    name: str
    deleting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A unit of the experiment that this one is a rerun of, which Succeeded."""

    experiment: str
    name: str
    uid: str
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentView:
    """An Experiment as it was read.

    `units` holds the unit of each slot that has one. A slot that is made by its record and is not
    in `units` surely has no unit: whoever makes the view has asked the API server, not a cache.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    spec: ExperimentSpec
    status: ExperimentStatus
    layout: Layout | None = None
    """None where the spec has no valid one."""
    units: Mapping[Slot, SlotUnit] = field(default_factory=dict)
    foreign: Mapping[Slot, Foreign] = field(default_factory=dict)
    profiles: Mapping[str, UsedProfile] = field(default_factory=dict)
    """The profiles as they are now; those of an accepted experiment are in its status."""
    earlier: Mapping[tuple[str, str], Earlier] | None = field(default_factory=dict)
    """What a rerun may take over, by task and digest of its work (see `making.work_digest`); None
    where the earlier experiment does not exist."""
    staged_code: Code | None = None
    """What the units name as their code, once `StageCode` was done."""
    clusters: Mapping[Slot, str] = field(default_factory=dict)
    """UIDs of the units whose Ray cluster, made for other tasks, is there."""
    deleting: bool = False
    finalizer: bool = True
    live: bool = False
    """Whether `units` was read from the API server just now, so that no unit is overlooked."""

    @property
    def ended(self) -> bool:
        """Whether the written phase is terminal, which is for ever."""
        return self.status.completion_time is not None

    @property
    def accepted(self) -> bool:
        """Whether it was accepted, with what it inherits: this is never looked at again."""
        return bool(self.status.tasks)

    @property
    def used_profiles(self) -> dict[str, ProfileSpec]:
        """The profiles with which the units are made."""
        used = self.status.profiles if self.accepted else self.profiles.values()
        return {each.name: each.spec for each in used}


@dataclass(frozen=True, slots=True)
class Planned:
    """The fact that the plan of an experiment in plan mode was written.

    `problems` says what would be refused, a line for each task.
    """

    config_map: str
    digest: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Staged:
    """The fact that the experiment's code is known, and there for its units."""

    code: StagedCode


@dataclass(frozen=True, slots=True)
class NotStaged:
    """The fact that the code is not to be had as things are; a human must mend that."""

    reason: str
    message: str


Fact = Planned | Staged | NotStaged | None


@dataclass(frozen=True, slots=True)
class ExperimentDecision:
    """The status to write first, then the effects in order, then when to look again."""

    status: ExperimentStatus
    effects: tuple[effects.ExperimentEffect, ...] = ()
    requeue_after: float | None = None
    soft: bool = False
    """Whether the status may be written a little later, with what happens until then."""
    verify: bool = False
    """Whether it may only be carried out if it is decided again on a live view: it gives up slots
    whose units may have been made without our knowledge."""
