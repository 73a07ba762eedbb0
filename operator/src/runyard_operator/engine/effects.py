"""What a decision asks to be done, as frozen values: tests assert on them, the edge runs them."""

from __future__ import annotations

from dataclasses import dataclass

from runyard.api.unit import UnitSpec
from runyard_operator.engine.slots import Slot


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Put our finalizer on the object itself, before anything that it must clean up exists."""


@dataclass(frozen=True, slots=True)
class ReleaseFinalizer:
    """Take our finalizer off: nothing of ours can be left behind any more."""


@dataclass(frozen=True, slots=True)
class Submit:
    """Create or adopt the job of the current attempt, whose key is in the written status."""

    attempt: int


@dataclass(frozen=True, slots=True)
class CancelJob:
    """Ask the backend to end the job of that attempt."""

    attempt: int


@dataclass(frozen=True, slots=True)
class SuspendJob:
    """Ask the backend to free what the job of that attempt holds."""

    attempt: int


@dataclass(frozen=True, slots=True)
class ResumeJob:
    """Ask the backend to let the suspended job of that attempt go on."""

    attempt: int


@dataclass(frozen=True, slots=True)
class ArchiveLogs:
    """Keep the complete logs of an attempt that is over."""

    attempt: int


@dataclass(frozen=True, slots=True)
class StageCode:
    """Find out what the experiment's code is, and put it where its units' pods find it."""


@dataclass(frozen=True, slots=True)
class RenderPlan:
    """Write down what each backend would get, and submit nothing."""


@dataclass(frozen=True, slots=True)
class CreateUnit:
    """Create the ExecutionUnit of a slot; that it exists already is as good."""

    slot: Slot
    name: str
    spec: UnitSpec


@dataclass(frozen=True, slots=True)
class UpdateUnit:
    """Cancel, suspend or resume a unit; None leaves a field as it is.

    `uid` is a precondition, so that a unit which was deleted meanwhile is not touched.
    """

    name: str
    uid: str
    cancel: bool | None = None
    suspend: bool | None = None


@dataclass(frozen=True, slots=True)
class DeleteUnit:
    """Delete a unit; its own finalizer ends its job first."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ReleaseCluster:
    """Delete the Ray cluster that a unit has made for others: nobody needs it any more."""

    unit_uid: str


@dataclass(frozen=True, slots=True)
class DeleteSelf:
    """Delete the experiment, whose time to live is over; all that it owns goes with it."""


UnitEffect = (
    AddFinalizer | ReleaseFinalizer | Submit | CancelJob | SuspendJob | ResumeJob | ArchiveLogs
)
ExperimentEffect = (
    AddFinalizer
    | ReleaseFinalizer
    | StageCode
    | RenderPlan
    | CreateUnit
    | UpdateUnit
    | DeleteUnit
    | ReleaseCluster
    | DeleteSelf
)
