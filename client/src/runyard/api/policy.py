"""What happens when a task fails or takes too long: retries by class of failure, deadlines."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from runyard.api.base import SET_LIST, ApiModel

Seconds = Annotated[int, Field(ge=1, le=31_536_000)]
"""Seconds, at most a year."""


class FailureClass(StrEnum):
    """Why an attempt failed, told apart so that a retry can choose."""

    ERROR = "Error"
    TIMEOUT = "Timeout"
    OUT_OF_MEMORY = "OutOfMemory"
    NODE_FAILURE = "NodeFailure"
    PREEMPTED = "Preempted"
    BACKEND_LOST = "BackendLost"
    LAUNCH_FAILED = "LaunchFailed"

    @property
    def infrastructure(self) -> bool:
        """Whether the place failed, and not the program."""
        return self in INFRASTRUCTURE


INFRASTRUCTURE = frozenset(
    {
        FailureClass.NODE_FAILURE,
        FailureClass.PREEMPTED,
        FailureClass.BACKEND_LOST,
        FailureClass.LAUNCH_FAILED,
    }
)


class Backoff(ApiModel):
    """The wait before attempt n + 1: `seconds * factor ^ (n - 1)`, at most `maxSeconds`.

    A part of it, up to `jitterPercent`, is taken off by chance, so that tasks that failed together
    do not come back together.
    """

    seconds: int = Field(default=10, ge=0, le=86_400)
    factor: int = Field(default=2, ge=1, le=10)
    max_seconds: int = Field(default=600, ge=0, le=604_800)
    jitter_percent: int = Field(default=20, ge=0, le=100)


class Retry(ApiModel):
    """Whether a task that failed is tried again. Failures of the place are counted apart."""

    limit: int = Field(
        ge=0,
        le=1000,
        description="Retries after the program's own failures: Error, Timeout, OutOfMemory.",
    )
    infrastructure_limit: int | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="Retries after NodeFailure, Preempted, BackendLost and LaunchFailed; `limit`"
        " when unset.",
    )
    failure_classes: Annotated[
        list[FailureClass], Field(max_length=7, json_schema_extra=SET_LIST)
    ] = Field(
        default=[],
        description="The classes that are retried; when empty, all but LaunchFailed.",
    )
    exit_codes: Annotated[
        list[Annotated[int, Field(ge=1, le=255)]],
        Field(max_length=64, json_schema_extra=SET_LIST),
    ] = Field(
        default=[], description="When not empty, an Error is retried with these exit codes only."
    )
    backoff: Backoff = Backoff()


class Deadlines(ApiModel):
    """How long each attempt may take. Without them a task waits and runs as long as it must."""

    queued_seconds: Seconds | None = Field(
        default=None, description="From the submission to the start; unlimited when unset."
    )
    active_seconds: Seconds | None = Field(
        default=None, description="From the start to the end; unlimited when unset."
    )
