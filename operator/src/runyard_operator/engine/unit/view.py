"""An ExecutionUnit as it was read, the facts that may be learnt about it, and the decision."""

from __future__ import annotations

from dataclasses import dataclass

from runyard.api.unit import Attempt, Handle, LogArchive, UnitSpec, UnitStatus
from runyard_operator.engine import effects
from runyard_operator.engine.observation import Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitView:
    """An ExecutionUnit as it was read, and what its place and this operator are like.

    `settle_seconds` and `can_suspend` are those of its backend, see `backends.base.Backend`.
    `epoch` is the number of this leadership.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    spec: UnitSpec
    status: UnitStatus
    deleting: bool = False
    finalizer: bool = True
    settle_seconds: float = 0.0
    can_suspend: bool = False
    epoch: int = 0
    noted: bool = True
    """Whether the experiment that made the unit has written down how it ended."""
    archives: bool = False
    """Whether this operator keeps the logs of attempts that are over."""

    @property
    def ended(self) -> bool:
        """Whether the written status is terminal, which is for ever."""
        return self.status.phase is not None and self.status.phase.terminal

    @property
    def ending_wanted(self) -> bool:
        """Whether somebody wants the unit to end: no attempt is begun, and a job is ended."""
        return self.spec.cancel or self.deleting or self.spec.skip is not None

    @property
    def attempt(self) -> Attempt | None:
        """The latest attempt; None before the first."""
        return self.status.attempts[-1] if self.status.attempts else None

    @property
    def between_attempts(self) -> bool:
        """Whether the latest attempt is over, and the unit is not: another one comes."""
        return self.attempt is not None and self.attempt.completion_time is not None


def condemned(attempt: Attempt) -> bool:
    """Whether we have decided that the attempt failed, and its job is still to be ended."""
    return attempt.failure_class is not None and attempt.completion_time is None


@dataclass(frozen=True, slots=True)
class Submitted:
    """The fact that the current attempt's job exists: just created, or adopted."""

    handle: Handle
    plan_digest: str


@dataclass(frozen=True, slots=True)
class SubmitFailed:
    """The fact that a submit brought no job that we know of.

    `final` means that it can never succeed, `stalled` that a human must act first; neither means
    that the outcome is not known.
    """

    reason: str
    message: str
    final: bool = False
    stalled: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """The fact that the spec cannot be run by this operator, whatever happens."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Archived:
    """The fact that the logs of an attempt are kept, or that nothing of them could be."""

    attempt: int
    log: LogArchive


Fact = Observation | Submitted | SubmitFailed | Rejected | Archived | None


@dataclass(frozen=True, slots=True)
class UnitDecision:
    """The status to write first, then the effects in order, then when to look again."""

    status: UnitStatus
    effects: tuple[effects.UnitEffect, ...] = ()
    requeue_after: float | None = None
