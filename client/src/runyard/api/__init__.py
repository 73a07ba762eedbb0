"""The API of runyard.dev/v1alpha1 as pydantic models: the one source of the CRDs.

The models speak the wire's camelCase by alias and refuse what they do not know. Optional fields
that are unset are absent on the wire, never null.
"""

from __future__ import annotations

from runyard.api.backend import BackendSpec
from runyard.api.base import ApiModel, Condition
from runyard.api.code import Code, CodeBundle, CodeGit, CodePvc, CodeUri, InlineFile
from runyard.api.executor import Executor, ExecutorDefaults, JobExecutor, TrainJobExecutor
from runyard.api.experiment import (
    ExperimentPhase,
    ExperimentSpec,
    ExperimentStatus,
    FailedTask,
    FailurePolicy,
    Mode,
    Param,
    PlanStatus,
    RerunOf,
    TaskApproval,
    TaskCounts,
    TaskRecord,
    UsedProfile,
    Verdict,
)
from runyard.api.launcher import FaultTolerance, Launcher, Nsys, Torchrun
from runyard.api.matrix import Matrix
from runyard.api.packages import Artifact, Packages
from runyard.api.policy import Backoff, Deadlines, FailureClass, Retry
from runyard.api.profile import ProfileSpec, TaskDefaults
from runyard.api.ray import RayExecutor
from runyard.api.task import (
    AfterPolicy,
    Approval,
    Dependency,
    Group,
    Output,
    Role,
    Script,
    SuccessPolicy,
    Task,
    When,
)
from runyard.api.unit import (
    TERMINAL_PHASES,
    Adopted,
    Attempt,
    Gate,
    Handle,
    Member,
    OutputValue,
    RetryCounts,
    Skip,
    UnitPhase,
    UnitSpec,
    UnitStatus,
)

__all__ = [
    "TERMINAL_PHASES",
    "Adopted",
    "AfterPolicy",
    "ApiModel",
    "Approval",
    "Artifact",
    "Attempt",
    "BackendSpec",
    "Backoff",
    "Code",
    "CodeBundle",
    "CodeGit",
    "CodePvc",
    "CodeUri",
    "Condition",
    "Deadlines",
    "Dependency",
    "Executor",
    "ExecutorDefaults",
    "ExperimentPhase",
    "ExperimentSpec",
    "ExperimentStatus",
    "FailedTask",
    "FailureClass",
    "FailurePolicy",
    "FaultTolerance",
    "Gate",
    "Group",
    "Handle",
    "InlineFile",
    "JobExecutor",
    "Launcher",
    "Matrix",
    "Member",
    "Mode",
    "Nsys",
    "Output",
    "OutputValue",
    "Packages",
    "Param",
    "PlanStatus",
    "ProfileSpec",
    "RayExecutor",
    "RerunOf",
    "Retry",
    "RetryCounts",
    "Role",
    "Script",
    "Skip",
    "SuccessPolicy",
    "Task",
    "TaskApproval",
    "TaskCounts",
    "TaskDefaults",
    "TaskRecord",
    "Torchrun",
    "TrainJobExecutor",
    "UnitPhase",
    "UnitSpec",
    "UnitStatus",
    "UsedProfile",
    "Verdict",
    "When",
]
