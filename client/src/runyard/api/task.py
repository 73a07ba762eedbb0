"""A task: what to run, on which executor, after what."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runyard.api.base import ATOMIC_LIST, ApiModel, Name, ObjectName, map_by, rule, with_rules
from runyard.api.executor import Executor
from runyard.api.matrix import Matrix
from runyard.api.pod import Env, EnvVar, RelativePath
from runyard.api.policy import Deadlines, Retry

MAX_ARGUMENT = 8192
"""Characters of one argument of a script."""


class When(StrEnum):
    """How the parent must end for the edge to be met."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    FINISHED = "Finished"


class AfterPolicy(StrEnum):
    """How many of the edges must be met."""

    ALL = "All"
    ANY = "Any"


class SuccessPolicy(StrEnum):
    """When a group has succeeded."""

    ALL = "All"
    LEADER = "Leader"


class Dependency(ApiModel):
    """An edge of the DAG: start after `task` has ended as `when` says."""

    task: Name
    when: When = When.SUCCEEDED


class Script(ApiModel):
    """A script, written here or found in the code; the working directory is the code folder."""

    model_config = with_rules(
        rule(
            "has(self.inline) != has(self.path)",
            "set either inline (the script's text) or path (a file of the code)",
        )
    )
    inline: str | None = Field(default=None, min_length=1, max_length=65536)
    path: RelativePath | None = None
    args: Annotated[
        list[Annotated[str, Field(max_length=MAX_ARGUMENT)]],
        Field(max_length=256, json_schema_extra=ATOMIC_LIST),
    ] = []
    entrypoint: str = Field(
        default="bash",
        min_length=1,
        max_length=256,
        description="Program that runs the script, for example bash, sh or python3.",
    )


class Role(ApiModel):
    """One of the programs of a group."""

    name: Name
    script: Script
    env: Annotated[
        list[EnvVar],
        Field(
            max_length=16,
            description="Merged over the task's own.",
            json_schema_extra=map_by("name"),
        ),
    ] = []


class Group(ApiModel):
    """Several programs that start together in one allocation; the first one is the leader.

    Each role is a container of one pod and gets all the resources of the executor block. With
    successPolicy All every role must succeed, and the first that fails ends the others. With Leader
    the leader's end is the task's, and the others are ended with it. The leader writes the outputs.
    """

    roles: Annotated[
        list[Role], Field(min_length=1, max_length=8, json_schema_extra=map_by("name"))
    ]
    success_policy: SuccessPolicy = SuccessPolicy.ALL


class Approval(ApiModel):
    """A task with it waits until somebody approves it in `spec.approvals`."""

    message: str = Field(
        default="", max_length=1024, description="What the approver should look at."
    )


class Torchrun(ApiModel):
    """torchrun, wired by the training runtime's own environment (PET_*)."""

    max_restarts: int | None = Field(default=None, ge=0, le=1000)


class Launcher(ApiModel):
    """What starts the script's processes on each node."""

    model_config = with_rules(
        rule("has(self.torchrun)", "set a launcher: torchrun is the one there is")
    )
    torchrun: Torchrun | None = None


class Output(ApiModel):
    """A named result: the task writes it to the file $RUNYARD_OUTPUTS/<name>."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", min_length=1, max_length=63)


Outputs = Annotated[list[Output], Field(max_length=32, json_schema_extra=map_by("name"))]


WORK_RULES = (
    rule("has(self.script) != has(self.group)", "set either script or group"),
    rule(
        "!has(self.launcher) || has(self.executor.trainJob)",
        "launcher.torchrun needs executor.trainJob: a job is one pod",
    ),
    rule(
        "!has(self.group) || has(self.executor.job)",
        "group needs executor.job: its roles are containers of one pod",
    ),
)


class Work(ApiModel):
    """What a task and an ExecutionUnit have in common: the thing to run and its place."""

    script: Script | None = None
    group: Group | None = Field(default=None, description="In place of `script`.")
    env: Env = []
    launcher: Launcher | None = None
    executor: Executor
    outputs: Outputs = []
    retry: Retry | None = None
    deadlines: Deadlines | None = None


class Task(Work):
    """One node of an Experiment's DAG."""

    model_config = with_rules(
        rule(
            "!self.after.exists(a, a.task == self.name)",
            "a task cannot run after itself: remove it from its own 'after'",
        ),
        *WORK_RULES,
    )
    name: Name
    profile: ObjectName | None = None
    after: Annotated[list[Dependency], Field(max_length=32, json_schema_extra=map_by("task"))] = []
    after_policy: AfterPolicy = Field(
        default=AfterPolicy.ALL, description="Whether all edges must be met, or one is enough."
    )
    allow_failure: bool = Field(
        default=False, description="Whether the experiment may succeed although this task fails."
    )
    matrix: Matrix | None = None
    approval: Approval | None = None
