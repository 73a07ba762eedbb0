"""A task: what to run, on which executor, after what."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runyard.api.base import (
    ATOMIC_LIST,
    ApiModel,
    Name,
    ObjectName,
    Quantity,
    map_by,
    rule,
    with_rules,
)
from runyard.api.executor import Executor
from runyard.api.launcher import Launcher
from runyard.api.matrix import Matrix
from runyard.api.packages import Artifacts, Packages
from runyard.api.pod import Env, EnvVar, RelativePath
from runyard.api.podfields import Image
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
            "[has(self.inline),has(self.path),has(self.module)].filter(x, x).size() == 1",
            "set exactly one of inline (the script's text), path (a file of the code) and module"
            " (a Python module)",
        )
    )
    inline: str | None = Field(default=None, min_length=1, max_length=65536)
    path: RelativePath | None = None
    module: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$",
        max_length=253,
        description="A Python module, run as `python3 -m`; entrypoint must be a Python then.",
    )
    args: Annotated[
        list[Annotated[str, Field(max_length=MAX_ARGUMENT)]],
        Field(max_length=256, json_schema_extra=ATOMIC_LIST),
    ] = []
    entrypoint: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="Program that runs the script, for example bash, sh or python3; bash when"
        " unset, and python3 for a module.",
    )

    @property
    def program(self) -> str:
        """The program that runs the script."""
        return self.entrypoint or ("python3" if self.module else "bash")


class Role(ApiModel):
    """One of the programs of a group. What is unset is as the executor block says.

    With executor.trainJob a role is a set of `numNodes` pods, all roles in one gang; with
    executor.job the roles are containers of one pod, which find each other at localhost.
    """

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
    launcher: Launcher | None = None
    num_nodes: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Pods of the role, with executor.trainJob; when unset the block's for the"
        " leader, and 1 for the others.",
    )
    nprocs_per_node: int | None = Field(default=None, ge=1, le=128)
    gpus_per_node: int | None = Field(
        default=None, ge=0, le=64, description="0 for none, whatever the executor block says."
    )
    image: Image | None = None
    cpu: Quantity | None = None
    cpu_limit: Quantity | None = None
    memory: Quantity | None = None
    memory_limit: Quantity | None = None

    @property
    def placed(self) -> dict[str, object]:
        """The fields by which the role's pods differ from those of the executor block."""
        names = (
            "launcher", "num_nodes", "nprocs_per_node", "gpus_per_node", "image", "cpu",
            "cpu_limit", "memory", "memory_limit",
        )  # fmt: skip
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}


class Group(ApiModel):
    """Several programs that start together in one allocation; the first one is the leader.

    With executor.job each role is a container of one pod and gets the resources of the block; with
    executor.trainJob each is a set of pods of its own, all in one gang. With successPolicy All
    every role must succeed, and the first that fails ends the others. With Leader the leader's end
    is the task's, and the others are ended with it. The leader writes the outputs.
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


class Output(ApiModel):
    """A named result: the task writes it to the file $RUNYARD_OUTPUTS/<name>."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", min_length=1, max_length=63)


Outputs = Annotated[list[Output], Field(max_length=32, json_schema_extra=map_by("name"))]


_RAY_CLUSTER = "has(self.executor.ray) && has(self.executor.ray.cluster)"

WORK_RULES = (
    rule(
        f"({_RAY_CLUSTER}) ? !has(self.script) && !has(self.group) :"
        " has(self.script) != has(self.group)",
        "set either script or group; a task that makes a Ray cluster has neither",
    ),
    rule(
        "!has(self.executor.ray) || (!has(self.launcher) && !has(self.group))",
        "launcher and group need executor.job or executor.trainJob: Ray starts its processes"
        " itself",
    ),
)


class Work(ApiModel):
    """What a task and an ExecutionUnit have in common: the thing to run and its place."""

    script: Script | None = None
    group: Group | None = Field(default=None, description="In place of `script`.")
    env: Env = []
    launcher: Launcher | None = None
    packages: Packages | None = None
    executor: Executor
    outputs: Outputs = []
    artifacts: Artifacts = []
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
