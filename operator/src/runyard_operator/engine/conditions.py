"""Conditions by the Kubernetes API conventions: a map by type with honest transition times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from runyard.api.base import Condition

Truth = Literal["True", "False", "Unknown"]

ACCEPTED: Final = "Accepted"
"""The spec is valid, and what it inherits exists."""
CODE_STAGED: Final = "CodeStaged"
"""The code is where the pods will find it; of an experiment, its commit or bundle is known."""
SUBMITTED: Final = "Submitted"
"""(unit) There is a job for the attempt."""
RUNNING: Final = "Running"
"""(unit) The job runs."""
SUCCEEDED: Final = "Succeeded"
"""`Unknown` until the end, then `True` or `False` with the reason."""
BACKEND_REACHABLE: Final = "BackendReachable"
"""(unit) The last question to the backend was answered. A `False` here changes nothing else:
the job may be well."""
APPROVED: Final = "Approved"
"""(experiment) `False` while a task waits for a verdict in `spec.approvals`, or was rejected."""
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"
"""(experiment) `activeDeadlineSeconds` are over: what runs is cancelled, then comes `finally`."""
SUSPENDED: Final = "Suspended"
"""Whether it is suspended; `False` with a reason while it is not yet, or cannot be."""
RECONCILING: Final = "Reconciling"
"""As kstatus defines it, for Argo CD, Flux and `kubectl wait`: the operator is on its way."""
STALLED: Final = "Stalled"
"""As kstatus defines it: a human is needed, and the message says for what."""

OURS: Final = frozenset(
    {
        ACCEPTED,
        CODE_STAGED,
        SUBMITTED,
        RUNNING,
        SUCCEEDED,
        BACKEND_REACHABLE,
        APPROVED,
        DEADLINE_EXCEEDED,
        SUSPENDED,
        RECONCILING,
        STALLED,
    }
)
"""The types that the operator writes; others in the list belong to whoever wrote them."""

MAX_MESSAGE: Final = 1024
"""Characters; the API allows more, a status that is read by people does not need it."""


@dataclass(frozen=True, slots=True)
class Want:
    """A condition as a decision states it, before generation and times are filled in."""

    type: str
    status: Truth
    reason: str
    message: str = ""


def truth(value: bool) -> Truth:
    """The condition status of a plain fact."""
    return "True" if value else "False"


def find(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of that type, if it is there."""
    return next((each for each in conditions if each.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    """Whether the condition is there and True."""
    found = find(conditions, type_)
    return found is not None and found.status == "True"


def merge(
    old: Iterable[Condition], wanted: Iterable[Want], *, generation: int, now: datetime
) -> list[Condition]:
    """Lays `wanted` over `old`; what is not mentioned stays, order is stable.

    `lastTransitionTime` moves only when the status does, as the API conventions ask.
    """
    merged = {each.type: each for each in old}
    for want in wanted:
        before = merged.get(want.type)
        same = before is not None and before.status == want.status
        merged[want.type] = Condition(
            type=want.type,
            status=want.status,
            observed_generation=generation,
            last_transition_time=before.last_transition_time if before and same else now,
            reason=want.reason or "Unknown",
            message=want.message[:MAX_MESSAGE],
        )
    return list(merged.values())
