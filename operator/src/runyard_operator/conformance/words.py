"""What a place says, has, and suffers: the states of its jobs, and what a line does to calls."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runyard.api.unit import Handle
from runyard_operator.backends.base import Manifest

WAITING = "QUEUED"
RUNNING = "EXECUTING"
SUSPENDED = "HELD"
SUCCEEDED = "DONE"
FAILED = "BROKEN"
STOPPING = "STOPPING"
ENDED = frozenset({SUCCEEDED, FAILED})
"""The place's own words, so that a backend must translate them; tests may set any other."""


class Died(BaseException):
    """The operator is dead from here on; only a test catches this."""


class Taken(Exception):  # noqa: N818
    """The place has an object of this name already."""


class Trouble(StrEnum):
    """What the line does to one call."""

    NOT_SENT = "not sent"
    """The call does not arrive, and the caller cannot tell."""
    ANSWER_LOST = "answer lost"
    """The call arrives; its answer does not."""
    DELAYED = "delayed"
    """The caller gives up, and the call arrives `Place.delay_seconds` later."""
    DOUBLED = "doubled"
    """The call arrives twice; the caller gets the second answer."""
    DIE_BEFORE = "die before"
    DIE_AFTER = "die after"
    """The operator dies, the call arrived or did not."""


@dataclass(slots=True)
class Job:
    """A job of the place. `state` is in the place's words, known or not."""

    key: str
    name: str
    unit: str
    """The UID of the unit; empty for a job that is not ours."""
    handle: Handle
    objects: tuple[Manifest, ...] = ()
    state: str = WAITING
    visible_at: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether it may run or use anything."""
        return self.state not in ENDED


@dataclass(frozen=True, slots=True)
class Request:
    """What a backend sends to have a job made."""

    key: str
    name: str
    unit: str
    objects: tuple[Manifest, ...]
