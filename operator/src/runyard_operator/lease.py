"""Who leads, as a Lease of coordination.k8s.io says it. Pure: every time is an argument.

Two clocks never meet here. Wall clocks are written for people and never read. Another's time is up
only when this process has seen the same record for the whole of its duration by its own monotonic
clock; and a holder counts its own time from before it sent the renewal. So whatever the wall clocks
say and however long an answer takes, a holder stops before anybody else may begin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from runyard_operator.kube.api import Object
from runyard_operator.kube.resources import Ref

LEASE_API: Final = "coordination.k8s.io/v1"
LEASE_KIND: Final = "Lease"
NOBODY: Final = "nobody"


@dataclass(frozen=True, slots=True)
class Terms:
    """The durations of one lease, all derived from the first; in seconds.

    Attributes:
        seconds: others take over when the record has not changed for that long.
    """

    seconds: int = 6

    @property
    def valid(self) -> float:
        """How long a renewal lets its holder act: less than `seconds`, for clocks that drift."""
        return self.seconds * 5 / 6

    @property
    def renew(self) -> float:
        """The pause between two renewals."""
        return self.seconds / 3

    @property
    def patience(self) -> float:
        """How long one request may take."""
        return self.seconds / 4

    @property
    def look(self) -> float:
        """The pause of a standby between two looks, which comes on top of `seconds`."""
        return self.seconds / 6

    @property
    def again(self) -> float:
        """The pause after a renewal that got no answer."""
        return self.seconds / 12


@dataclass(frozen=True, slots=True)
class Record:
    """What a stored Lease says.

    Attributes:
        version: its resourceVersion; each change of the record has its own.
        holder: the identity of who leads; empty when it was released.
        transitions: how often the holder has changed.
        seconds: how long the holder wants to be trusted; None when it does not say.
    """

    version: str
    holder: str
    transitions: int
    seconds: int | None

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Record:
        """The record of a Lease; one that was made by hand may say nothing."""
        spec = stored.get("spec") or {}
        return cls(
            version=stored["metadata"]["resourceVersion"],
            holder=spec.get("holderIdentity") or "",
            transitions=spec.get("leaseTransitions") or 0,
            seconds=spec.get("leaseDurationSeconds"),
        )


class Sighting:
    """How long a record has stood unchanged, by the monotonic clock of this process."""

    def __init__(self) -> None:
        self._version: str | None = None
        self._since = 0.0

    def free(self, record: Record, *, asked: float, answered: float, terms: Terms) -> bool:
        """Whether the lease may be taken: nobody holds it, or its holder's time is up.

        Args:
            record: as it was read just now.
            asked: when the request was sent; the record is at least as young as that.
            answered: when the answer came; the record is at least as old as that.
            terms: of this process; the holder's own duration is preferred.
        """
        if record.version != self._version:
            self._version, self._since = record.version, answered
        limit = terms.seconds if record.seconds is None else record.seconds
        return not record.holder or asked - self._since >= limit


def vacant(ref: Ref, now: datetime, terms: Terms, *, transitions: int) -> Object:
    """The Lease to create where there is none.

    Somebody may have deleted it under a leader that does not know yet. So nobody leads by creating
    it: it is held, by no one, until that leader's time is up for sure.

    Args:
        ref: its name.
        now: the wall clock, for people.
        terms: the durations.
        transitions: the highest number that was seen; the new Lease goes on from there.
    """
    spec = {
        "holderIdentity": NOBODY,
        "leaseDurationSeconds": terms.seconds,
        "leaseTransitions": transitions,
        "renewTime": _micro(now),
    }
    metadata = {"name": ref.name, "namespace": ref.namespace}
    return {"apiVersion": LEASE_API, "kind": LEASE_KIND, "metadata": metadata, "spec": spec}


def claimed(stored: Object, identity: str, now: datetime, terms: Terms) -> Object:
    """The Lease to write in order to hold it, or to go on holding it.

    Args:
        stored: as it was read; its resourceVersion guards the write.
        identity: of this process.
        now: the wall clock, for people.
        terms: the durations.
    """
    spec = dict(stored.get("spec") or {})
    time = _micro(now)
    if spec.get("holderIdentity") != identity:
        spec["acquireTime"] = time
        # So the first is 1: 0 is the number of an operator without any lease.
        spec["leaseTransitions"] = (spec.get("leaseTransitions") or 0) + 1
    spec |= {
        "holderIdentity": identity,
        "leaseDurationSeconds": terms.seconds,
        "renewTime": time,
    }
    return _written(stored, spec)


def released(stored: Object, now: datetime) -> Object:
    """The Lease to write in order to give it up: anybody may take it at once."""
    return _written(stored, {**stored["spec"], "holderIdentity": "", "renewTime": _micro(now)})


def _written(stored: Object, spec: Object) -> Object:
    metadata = stored["metadata"]
    return {"apiVersion": LEASE_API, "kind": LEASE_KIND, "metadata": metadata, "spec": spec}


def _micro(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
