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
    same,
    with_rules,
)
from runyard.api.code import Code
from runyard.api.constants import MAX_MEMBERS
from runyard.api.matrix import Value
from runyard.api.policy import FailureClass
from runyard.api.task import WORK_RULES, Work

MAX_ATTEMPTS = 16
"""Attempt records that a unit keeps; the oldest go first."""
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


class Gate(ApiModel):
    """Something that must be cleared before the unit may run, as a pod's scheduling gates."""

    name: Name


class Skip(ApiModel):
    """The verdict that the unit must never run."""

    reason: str = Field(min_length=1, max_length=1024)
    message: str = Field(default="", max_length=1024)


class Member(ApiModel):
    """Which member of its task's matrix a unit is."""

    index: int = Field(ge=0, le=MAX_MEMBERS - 1)
    values: dict[str, Value] = Field(default_factory=dict, json_schema_extra={"maxProperties": 16})


class OutputValue(ApiModel):
    """A declared output, as text."""

    name: str = Field(max_length=63)
    value: str = Field(max_length=4096)


OutputValues = Annotated[list[OutputValue], Field(max_length=32, json_schema_extra=map_by("name"))]


class Adopted(ApiModel):
    """The unit of an earlier experiment that did this very work already."""

    experiment: Name
    unit: Name
    uid: str = Field(max_length=128)
    outputs: OutputValues = []


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
            f"oldSelf.gates.size() > 0 || ({same('script')} && {same('group')} && "
            "self.env == oldSelf.env && self.executor == oldSelf.executor && "
            "self.outputs == oldSelf.outputs && self.artifacts == oldSelf.artifacts && "
            f"{same('packages')} && {same('launcher')})",
            "the work of a unit is immutable once its gates are gone: create a new unit",
        ),
        rule(
            same("code"),
            "code is immutable: create a new unit",
        ),
        rule(
            "(has(self.experiment) ? self.experiment : '') == "
            "(has(oldSelf.experiment) ? oldSelf.experiment : '') && "
            "(has(self.task) ? self.task : '') == (has(oldSelf.task) ? oldSelf.task : '')",
            "experiment and task are immutable: they say whose unit this is",
        ),
        rule(
            f"{same('retry')} && {same('deadlines')}",
            "retry and deadlines are immutable: create a new unit",
        ),
        rule(
            f"{same('member')} && {same('adopted')}",
            "member and adopted are immutable: they say what this unit is",
        ),
        *WORK_RULES,
    )
    experiment: Name | None = Field(
        default=None, description="The Experiment that made this unit; unset when alone."
    )
    task: Name | None = Field(default=None, description="The task's name in the Experiment.")
    member: Member | None = Field(
        default=None, description="Set on the units of a task with a matrix."
    )
    adopted: Adopted | None = Field(
        default=None, description="Set where a rerun takes over an earlier result: nothing runs."
    )
    code: Code | None = None
    gates: Annotated[list[Gate], Field(max_length=8, json_schema_extra=map_by("name"))] = []
    skip: Skip | None = None
    suspend: bool = Field(
        default=False,
        description="While true, nothing new is submitted; what runs is suspended where the"
        " backend can do that, and goes on otherwise.",
    )
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
    epoch: int | None = Field(
        default=None,
        ge=0,
        description="The transition count of the operator's lease when the attempt was written.",
    )
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
    missing_since: datetime | None = Field(
        default=None,
        description="Since when the backend has not found the job; judged after its grace.",
    )
    late_result: str | None = Field(
        default=None,
        max_length=1024,
        description="What the job did after this attempt was over; recorded, never applied.",
    )
    log: LogArchive | None = None


class ArtifactStatus(ApiModel):
    """An artifact as it was when the task succeeded."""

    name: str = Field(max_length=63)
    path: str | None = Field(default=None, max_length=1024)
    uri: str | None = Field(default=None, max_length=1024)
    size_bytes: int | None = Field(default=None, ge=0, json_schema_extra=INT64)
    digest: str | None = Field(
        default=None,
        max_length=71,
        description="sha256 of the file; of a folder, that of its files' sorted list.",
    )


ArtifactStatuses = Annotated[
    list[ArtifactStatus], Field(max_length=16, json_schema_extra=map_by("name"))
]


class LogArchive(ApiModel):
    """Where an attempt's complete logs are kept after its pods are gone."""

    location: str = Field(
        max_length=1024, description="Where the manifest is; empty when nothing could be kept."
    )
    size_bytes: int = Field(default=0, ge=0, json_schema_extra=INT64)
    digest: str | None = Field(default=None, max_length=71, description="sha256 of the manifest.")
    message: str | None = Field(
        default=None, max_length=1024, description="What is missing, and why."
    )


class RetryCounts(ApiModel):
    """Retries so far; failures of the place are counted apart from those of the program."""

    user: int = 0
    infrastructure: int = 0


class UnitStatus(ApiModel):
    """What is known about the unit; never a secret."""

    observed_generation: int | None = Field(default=None, json_schema_extra=INT64)
    phase: UnitPhase | None = None
    reason: str | None = Field(default=None, max_length=1024)
    message: str | None = Field(default=None, max_length=4096)
    attempts: Annotated[
        list[Attempt],
        Field(
            max_length=MAX_ATTEMPTS,
            description="The latest attempts, the oldest first.",
            json_schema_extra=map_by("number"),
        ),
    ] = []
    retries: RetryCounts | None = None
    next_attempt_time: datetime | None = Field(
        default=None, description="When the next attempt begins, while a backoff lasts."
    )
    outputs: OutputValues = []
    artifacts: ArtifactStatuses = []
    dashboard_url: str | None = Field(
        default=None,
        max_length=1024,
        description="Where the job's own dashboard is, as seen from within the cluster.",
    )
    start_time: datetime | None = None
    completion_time: datetime | None = None
    conditions: Conditions = []
