"""What a decision asks to be done, as frozen values: tests assert on them, the edge runs them."""

from __future__ import annotations

from dataclasses import dataclass

from runyard.api.unit import UnitSpec


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
    """Ask the backend to end the job of the current attempt."""

    attempt: int


@dataclass(frozen=True, slots=True)
class StageCode:
    """Put the experiment's inline code where its units' pods can mount it, once for all."""


@dataclass(frozen=True, slots=True)
class CreateUnit:
    """Create the ExecutionUnit of a task; that it exists already is as good."""

    task: str
    spec: UnitSpec


@dataclass(frozen=True, slots=True)
class UpdateUnit:
    """Set the unit's script, env, gates, skip and cancel to those of `spec`.

    `uid` is a precondition, so that a unit which was deleted meanwhile is not touched.
    """

    task: str
    uid: str
    spec: UnitSpec


@dataclass(frozen=True, slots=True)
class DeleteUnit:
    """Delete the unit of a task; its own finalizer ends its job first."""

    task: str
    uid: str


UnitEffect = AddFinalizer | ReleaseFinalizer | Submit | CancelJob
ExperimentEffect = (
    AddFinalizer | ReleaseFinalizer | StageCode | CreateUnit | UpdateUnit | DeleteUnit
)
