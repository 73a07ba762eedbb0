"""Experiment: a DAG of tasks. Users write it; the operator writes its status."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runyard.api.base import (
    ATOMIC_LIST,
    INT64,
    SET_LIST,
    ApiModel,
    Conditions,
    Name,
    map_by,
    rule,
    same,
    with_rules,
)
from runyard.api.code import Code
from runyard.api.constants import MAX_FINALLY, MAX_MEMBERS, MAX_TASKS
from runyard.api.matrix import ParameterName
from runyard.api.policy import Seconds
from runyard.api.profile import ProfileSpec, TaskDefaults
from runyard.api.task import Task


class FailurePolicy(StrEnum):
    """What a failure that nobody waits for does to the other branches."""

    FAIL_FAST = "FailFast"
    CONTINUE = "Continue"


class Mode(StrEnum):
    """Whether to run the experiment, or only to show what each backend would get."""

    RUN = "Run"
    PLAN = "Plan"


class Verdict(StrEnum):
    """What an approver says."""

    APPROVE = "Approve"
    REJECT = "Reject"


class ExperimentPhase(StrEnum):
    """For people and selectors only; the conditions are the contract."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    CANCELLING = "Cancelling"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class Param(ApiModel):
    """A value that stands for `${params.NAME}` in environment variables and arguments."""

    name: ParameterName
    value: str = Field(max_length=4096)


class TaskApproval(ApiModel):
    """The verdict on a task that has `approval`; it counts once the task's edges are met."""

    task: Name
    verdict: Verdict = Verdict.APPROVE
    message: str = Field(default="", max_length=1024)


class RerunOf(ApiModel):
    """An earlier experiment of the namespace whose successes are taken over.

    A task is taken over if its work (script, arguments, environment, executor, code, all with
    their values) is the same as that of a unit that Succeeded there, and all tasks before it were
    taken over, too; the others run, and those of `finally` always do.
    """

    name: Name
    from_tasks: Annotated[list[Name], Field(max_length=MAX_TASKS, json_schema_extra=SET_LIST)] = (
        Field(default=[], description="Run these and all that come after them in any case.")
    )


def _immutable(field: str, *, always: bool = False, verb: str = "is") -> dict[str, str]:
    """A field that never changes; `always` when its default makes sure that it is there."""
    expression = f"self.{field} == oldSelf.{field}" if always else same(field)
    return rule(expression, f"{field} {verb} immutable: create an experiment with another name")


_FROZEN = {
    "x-kubernetes-validations": [
        rule("self == oldSelf", "tasks are immutable: create an experiment with another name")
    ]
}


class ExperimentSpec(ApiModel):
    """What to run.

    Once the experiment exists, only `suspend`, `suspendTasks`, `cancel`, `maxParallel`,
    `ttlSecondsAfterFinished` and `approvals` may change.
    """

    model_config = with_rules(
        rule(
            # The list of names is made once; an inner `exists` would exceed the cost that the API
            # server grants at run time for the biggest graphs.
            "[self.tasks.map(t, t.name)].all(names, self.tasks.all(t, t.after.all(a, a.task in"
            " names)))",
            "'after' names a task that is not in spec.tasks: correct the name",
        ),
        rule(
            "[self.tasks.map(t, t.name) + self.finally.map(t, t.name)].all(names,"
            " self.approvals.all(a, a.task in names) && self.suspendTasks.all(s, s in names))",
            "approvals and suspendTasks must name tasks of this experiment: correct the name",
        ),
        rule(
            "!oldSelf.cancel || self.cancel",
            "cancel cannot be taken back: create the experiment anew",
        ),
        _immutable("code"),
        _immutable("defaults", verb="are"),
        _immutable("failurePolicy", always=True),
        _immutable("mode", always=True),
        _immutable("params", always=True, verb="are"),
        _immutable("rerunOf"),
        _immutable("activeDeadlineSeconds"),
    )
    mode: Mode = Field(
        default=Mode.RUN, description="Plan renders what each backend would get; nothing runs."
    )
    params: Annotated[list[Param], Field(max_length=64, json_schema_extra=map_by("name"))] = []
    rerun_of: RerunOf | None = None
    defaults: TaskDefaults | None = None
    code: Code | None = None
    failure_policy: FailurePolicy = FailurePolicy.FAIL_FAST
    max_parallel: int | None = Field(
        default=None,
        ge=1,
        le=MAX_MEMBERS,
        description="Units that may be on their way at the same time; unlimited when unset.",
    )
    suspend: bool = Field(
        default=False,
        description="While true, no task starts, and what runs is suspended where it can be.",
    )
    suspend_tasks: Annotated[
        list[Name], Field(max_length=MAX_TASKS, json_schema_extra=SET_LIST)
    ] = Field(default=[], description="As `suspend`, for these tasks only.")
    approvals: Annotated[
        list[TaskApproval], Field(max_length=MAX_TASKS, json_schema_extra=map_by("task"))
    ] = Field(default=[], description="Verdicts on tasks that have `approval`.")
    cancel: bool = Field(
        default=False, description="Set to true to cancel what runs and what waits."
    )
    active_deadline_seconds: Seconds | None = Field(
        default=None,
        description="From the start of the experiment to the end of its last task; tasks of"
        " `finally` are not counted.",
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=315_360_000,
        description="The experiment, with all that was made for it, is deleted that long after"
        " its end; never when unset.",
    )
    tasks: Annotated[
        list[Task],
        Field(
            min_length=1,
            max_length=MAX_TASKS,
            json_schema_extra={**map_by("name"), **_FROZEN},
        ),
    ]
    finally_: Annotated[
        list[Task],
        Field(
            alias="finally",
            max_length=MAX_FINALLY,
            description="Run when all tasks have ended, in whatever way; they have no edges.",
            json_schema_extra={**map_by("name"), **_FROZEN},
        ),
    ] = []


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


class TaskRecord(ApiModel):
    """How far a task is; `states` has one character for each member of its matrix, else one.

    `.` not made yet, `+` made, `S` Succeeded, `F` Failed, `C` Cancelled, `K` Skipped. What is
    written here is never taken back, whatever becomes of the unit.
    """

    name: str = Field(max_length=63)
    states: str = Field(max_length=MAX_MEMBERS)


class UsedProfile(ApiModel):
    """A profile as it was when the experiment was accepted."""

    name: str = Field(max_length=253)
    namespace: str = Field(max_length=63)
    spec: ProfileSpec


class StagedCode(ApiModel):
    """What the experiment's code turned out to be; all its units run exactly this."""

    commit: str | None = Field(default=None, max_length=64, description="The commit of code.git.")
    digest: str | None = Field(default=None, max_length=71, description="The digest of a bundle.")


class PlanStatus(ApiModel):
    """Where the plan of an experiment with `mode: Plan` is."""

    config_map: str = Field(max_length=253)
    digest: str = Field(max_length=71)


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
    skipped_tasks: Annotated[
        list[FailedTask],
        Field(max_length=10, description="The first ten.", json_schema_extra=map_by("name")),
    ] = []
    tasks: Annotated[
        list[TaskRecord],
        Field(max_length=MAX_TASKS + MAX_FINALLY, json_schema_extra=ATOMIC_LIST),
    ] = []
    profiles: Annotated[
        list[UsedProfile],
        Field(
            max_length=16,
            description="The profiles with which the units were made.",
            json_schema_extra=ATOMIC_LIST,
        ),
    ] = []
    code: StagedCode | None = None
    plan: PlanStatus | None = None
    start_time: datetime | None = None
    completion_time: datetime | None = None
    conditions: Conditions = []
