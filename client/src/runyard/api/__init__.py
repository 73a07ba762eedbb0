"""The API of runyard.dev/v1alpha1 as pydantic models: the one source of the CRDs.

The models speak the wire's camelCase by alias and refuse what they do not know. Optional fields
that are unset are absent on the wire, never null.
"""

from __future__ import annotations

from runyard.api.backend import BackendSpec
from runyard.api.base import ApiModel, Condition
from runyard.api.code import Code, InlineFile
from runyard.api.executor import Executor, ExecutorDefaults, JobExecutor, TrainJobExecutor
from runyard.api.experiment import (
    ExperimentPhase,
    ExperimentSpec,
    ExperimentStatus,
    FailedTask,
    FailurePolicy,
    TaskCounts,
    TaskDefaults,
)
from runyard.api.profile import ProfileSpec
from runyard.api.task import Dependency, Launcher, Output, Script, Task, Torchrun, When
from runyard.api.unit import (
    TERMINAL_PHASES,
    Attempt,
    FailureClass,
    Gate,
    Handle,
    OutputValue,
    Skip,
    UnitPhase,
    UnitSpec,
    UnitStatus,
)

__all__ = [
    "TERMINAL_PHASES",
    "ApiModel",
    "Attempt",
    "BackendSpec",
    "Code",
    "Condition",
    "Dependency",
    "Executor",
    "ExecutorDefaults",
    "ExperimentPhase",
    "ExperimentSpec",
    "ExperimentStatus",
    "FailedTask",
    "FailureClass",
    "FailurePolicy",
    "Gate",
    "Handle",
    "InlineFile",
    "JobExecutor",
    "Launcher",
    "Output",
    "OutputValue",
    "ProfileSpec",
    "Script",
    "Skip",
    "Task",
    "TaskCounts",
    "TaskDefaults",
    "Torchrun",
    "TrainJobExecutor",
    "UnitPhase",
    "UnitSpec",
    "UnitStatus",
    "When",
]
