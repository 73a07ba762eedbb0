"""ExecutionProfile: a named, inheritable set of defaults for tasks. It holds no credentials."""

from __future__ import annotations

from pydantic import Field

from runyard.api.base import ApiModel, ObjectName
from runyard.api.executor import ExecutorDefaults
from runyard.api.packages import Packages
from runyard.api.pod import Env
from runyard.api.policy import Deadlines, Retry


class TaskDefaults(ApiModel):
    """Merged under every task: the task wins, then these, then the profile."""

    profile: ObjectName | None = None
    env: Env = []
    packages: Packages | None = None
    executor: ExecutorDefaults | None = None
    retry: Retry | None = None
    deadlines: Deadlines | None = None


class ProfileSpec(ApiModel):
    """Defaults for tasks. A unit takes a copy when it is made; later edits do not reach it."""

    extends: ObjectName | None = Field(
        default=None,
        description="A profile whose values are merged under these; at most eight in a chain.",
    )
    env: Env = []
    packages: Packages | None = None
    executor: ExecutorDefaults | None = None
    retry: Retry | None = None
    deadlines: Deadlines | None = None
