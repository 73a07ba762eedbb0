"""What a backend can say about one attempt of a unit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from runyard.api.policy import FailureClass
from runyard.api.unit import ArtifactStatus, Handle


class State(StrEnum):
    """The state of an attempt's job as its backend tells it.

    Success is an allow-list: only a clear word from the backend is SUCCEEDED. What nobody has
    seen before is UNKNOWN, which changes nothing.
    """

    ABSENT = "Absent"
    """A clear "there is no such job"; for a job that was there before, that it is gone."""
    WAITING = "Waiting"
    SUSPENDED = "Suspended"
    """The job is kept and holds nothing: it was suspended."""
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    """The job failed, and nothing of it runs any more: the next attempt may begin."""
    TERMINATING = "Terminating"
    """The job is being deleted and may still run."""
    UNKNOWN = "Unknown"
    """No clear answer (transport error, unreadable state): wait and ask again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look at the job of an attempt; times are aware UTC datetimes.

    `key` names the attempt; None stands for the current one. `start_time` is since when the job
    runs: after a suspend, since it was resumed.
    """

    state: State
    key: str | None = None
    handle: Handle | None = None
    reason: str = ""
    message: str = ""
    queued: bool = False
    """Whether a queue manager holds the job: it holds nothing, and no watch tells why."""
    node: str | None = None
    exit_code: int | None = None
    failure_class: FailureClass | None = None
    last_log_lines: tuple[str, ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    artifacts: tuple[ArtifactStatus, ...] = ()
    dashboard_url: str | None = None
    start_time: datetime | None = None
    completion_time: datetime | None = None
