"""ExecutionUnit: one task on one executor. The operator makes one for each task of an Experiment;
users may also write one alone."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runyard.api.base import (
    ATOMIC_LIST,
    INT64,
    ApiModel,
    Conditions,
    Name,
    map_by,
    rule,
    with_rules,
)
from runyard.api.code import Code
from runyard.api.task import Work

MAX_LOG_LINES = 20
"""The last lines of the log that a failed attempt keeps."""
MAX_LOG_LINE = 1024
"""Characters of such a line."""


class UnitPhase(StrEnum):
    """For people and selectors only; the conditions are the contract."""

    PENDING = "Pending"
    QUEUED = "Queued"
    SUBMITTING = "Submitting"
    WAITING = "Waiting"
    RUNNING = "Running"
    CANCELLING = "Cancelling"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    SKIPPED = "Skipped"

    @property
    def terminal(self) -> bool:
        """Whether the unit has ended for good."""
        return self in TERMINAL_PHASES


TERMINAL_PHASES = frozenset(
    {UnitPhase.SUCCEEDED, UnitPhase.FAILED, UnitPhase.CANCELLED, UnitPhase.SKIPPED}
)


class FailureClass(StrEnum):
    """Why an attempt failed, told apart so that a retry can choose."""

    ERROR = "Error"
    OUT_OF_MEMORY = "OutOfMemory"
    NODE_FAILURE = "NodeFailure"
    PREEMPTED = "Preempted"
    BACKEND_LOST = "BackendLost"
    LAUNCH_FAILED = "LaunchFailed"


class Gate(ApiModel):
    """Something that must be cleared before the unit may run, as a pod's scheduling gates."""

    name: Name


class Skip(ApiModel):
    """The verdict that the unit must never run."""

    reason: str = Field(min_length=1, max_length=1024)
    message: str = Field(default="", max_length=1024)


class UnitSpec(Work):
    """What to run. Work is immutable from the moment that no gate is left."""

    model_config = with_rules(
        rule(
            "!oldSelf.cancel || self.cancel",
            "cancel cannot be taken back: create the unit anew",
        ),
        rule(
            "self.gates.all(g, oldSelf.gates.exists(o, o.name == g.name))",
            "gates can only be removed",
        ),
        rule(
            "!has(oldSelf.skip) || (has(self.skip) && self.skip == oldSelf.skip)",
            "skip is final",
        ),
        rule(
            "oldSelf.gates.size() > 0 || (self.script == oldSelf.script && "
            "self.env == oldSelf.env && self.executor == oldSelf.executor && "
            "self.outputs == oldSelf.outputs && has(self.launcher) == has(oldSelf.launcher) && "
            "(!has(self.launcher) || self.launcher == oldSelf.launcher))",
            "the work of a unit is immutable once its gates are gone: create a new unit",
        ),
        rule(
            "has(self.code) == has(oldSelf.code) && (!has(self.code) || self.code == oldSelf.code)",
            "code is immutable: create a new unit",
        ),
        rule(
            "(has(self.experiment) ? self.experiment : '') == "
            "(has(oldSelf.experiment) ? oldSelf.experiment : '') && "
            "(has(self.task) ? self.task : '') == (has(oldSelf.task) ? oldSelf.task : '')",
            "experiment and task are immutable: they say whose unit this is",
        ),
        rule(
            "!has(self.launcher) || has(self.executor.trainJob)",
            "launcher.torchrun needs executor.trainJob: a job is one pod",
        ),
    )
    experiment: Name | None = Field(
        default=None, description="The Experiment that made this unit; unset when alone."
    )
    task: Name | None = Field(default=None, description="The task's name in the Experiment.")
    code: Code | None = None
    gates: Annotated[list[Gate], Field(max_length=8, json_schema_extra=map_by("name"))] = []
    skip: Skip | None = None
    cancel: bool = False


class Handle(ApiModel):
    """The backend's own name for what an attempt submitted."""

    kind: str = Field(max_length=63)
    name: str = Field(max_length=253)
    uid: str = Field(max_length=128)


class Attempt(ApiModel):
    """One try of the unit. The key is written here before the backend is asked for anything."""

    number: int = Field(ge=1)
    key: str = Field(max_length=128, description="Travels with the job; names this try for good.")
    handle: Handle | None = None
    plan_digest: str | None = Field(default=None, max_length=128)
    node: str | None = Field(default=None, max_length=253)
    exit_code: int | None = None
    failure_class: FailureClass | None = None
    reason: str | None = Field(default=None, max_length=1024)
    message: str | None = Field(default=None, max_length=4096)
    last_log_lines: Annotated[
        list[Annotated[str, Field(max_length=MAX_LOG_LINE)]],
        Field(max_length=MAX_LOG_LINES, json_schema_extra=ATOMIC_LIST),
    ] = []
    submit_time: datetime | None = None
    start_time: datetime | None = None
    completion_time: datetime | None = None


class OutputValue(ApiModel):
    """A declared output, as text."""

    name: str = Field(max_length=63)
    value: str = Field(max_length=4096)


class UnitStatus(ApiModel):
    """What is known about the unit; never a secret."""

    observed_generation: int | None = Field(default=None, json_schema_extra=INT64)
    phase: UnitPhase | None = None
    reason: str | None = Field(default=None, max_length=1024)
    message: str | None = Field(default=None, max_length=4096)
    attempts: Annotated[
        list[Attempt], Field(max_length=16, json_schema_extra=map_by("number"))
    ] = []
    outputs: Annotated[
        list[OutputValue], Field(max_length=32, json_schema_extra=map_by("name"))
    ] = []
    start_time: datetime | None = None
    completion_time: datetime | None = None
    conditions: Conditions = []
