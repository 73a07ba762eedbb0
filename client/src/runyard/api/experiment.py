"""Experiment: a DAG of tasks. Users write it; the operator writes its status."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runyard.api.base import INT64, ApiModel, Conditions, ObjectName, map_by, rule, with_rules
from runyard.api.code import Code
from runyard.api.constants import MAX_TASKS
from runyard.api.executor import ExecutorDefaults
from runyard.api.pod import Env
from runyard.api.task import Task


class FailurePolicy(StrEnum):
    """What a failure that nobody waits for does to the other branches."""

    FAIL_FAST = "FailFast"
    CONTINUE = "Continue"


class ExperimentPhase(StrEnum):
    """For people and selectors only; the conditions are the contract."""

    PENDING = "Pending"
    RUNNING = "Running"
    CANCELLING = "Cancelling"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class TaskDefaults(ApiModel):
    """Merged under every task: the task wins, then these, then the profile."""

    profile: ObjectName | None = None
    env: Env = []
    executor: ExecutorDefaults | None = None


class ExperimentSpec(ApiModel):
    """What to run. Only `cancel` may change once the experiment exists."""

    model_config = with_rules(
        rule(
            # The list of names is made once; an inner `exists` would exceed the cost that the API
            # server grants at run time for the biggest graphs.
            "[self.tasks.map(t, t.name)].all(names, self.tasks.all(t, t.after.all(a, a.task in"
            " names)))",
            "'after' names a task that is not in spec.tasks: correct the name",
        ),
        rule(
            "!oldSelf.cancel || self.cancel",
            "cancel cannot be taken back: create the experiment anew",
        ),
        rule(
            "has(self.code) == has(oldSelf.code) && (!has(self.code) || self.code == oldSelf.code)",
            "code is immutable: create an experiment with another name",
        ),
        rule(
            "has(self.defaults) == has(oldSelf.defaults) && "
            "(!has(self.defaults) || self.defaults == oldSelf.defaults)",
            "defaults are immutable: create an experiment with another name",
        ),
        rule(
            "self.failurePolicy == oldSelf.failurePolicy",
            "failurePolicy is immutable: create an experiment with another name",
        ),
    )
    defaults: TaskDefaults | None = None
    code: Code | None = None
    failure_policy: FailurePolicy = FailurePolicy.FAIL_FAST
    cancel: bool = Field(
        default=False, description="Set to true to cancel what runs and what waits."
    )
    tasks: Annotated[
        list[Task],
        Field(
            min_length=1,
            max_length=MAX_TASKS,
            json_schema_extra={
                **map_by("name"),
                "x-kubernetes-validations": [
                    rule(
                        "self == oldSelf",
                        "tasks are immutable: create an experiment with another name",
                    )
                ],
            },
        ),
    ]


class TaskCounts(ApiModel):
    """Number of tasks in each phase of their ExecutionUnit."""

    total: int = 0
    pending: int = 0
    queued: int = 0
    submitting: int = 0
    waiting: int = 0
    running: int = 0
    cancelling: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0


class FailedTask(ApiModel):
    """A task that failed, and why; the unit's status has the details."""

    name: str = Field(max_length=63)
    reason: str = Field(max_length=1024)
    message: str = Field(default="", max_length=1024)


class ExperimentStatus(ApiModel):
    """Bounded whatever the experiment's size; the details live in the units."""

    observed_generation: int | None = Field(default=None, json_schema_extra=INT64)
    phase: ExperimentPhase | None = None
    reason: str | None = Field(default=None, max_length=1024)
    message: str | None = Field(default=None, max_length=4096)
    progress: str | None = Field(
        default=None, max_length=32, description="Finished and all tasks, for example 2/3."
    )
    counts: TaskCounts | None = None
    failed_tasks: Annotated[
        list[FailedTask],
        Field(max_length=10, description="The first ten.", json_schema_extra=map_by("name")),
    ] = []
    start_time: datetime | None = None
    completion_time: datetime | None = None
    conditions: Conditions = []
