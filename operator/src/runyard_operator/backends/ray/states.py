"""What KubeRay's words mean: `jobDeploymentStatus` and `jobStatus` of a RayJob to a state. Pure.

The words are those of KubeRay 1.6 (apis/ray/v1/rayjob_types.go). Any other one is UNKNOWN, which
changes nothing: a word that a newer KubeRay adds is neither an end nor a success.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from runyard_operator.engine.observation import State

_ON_ITS_WAY: Final = frozenset({"", "Initializing", "Waiting", "Retrying", "Suspending"})
_AT_WORK: Final[Mapping[str, State]] = {
    # The job is submitted by a pod of its own, and its driver starts after its environment.
    "": State.WAITING,
    "PENDING": State.WAITING,
    "RUNNING": State.RUNNING,
    # Over in Ray; KubeRay has not said so yet.
    "SUCCEEDED": State.RUNNING,
    "FAILED": State.RUNNING,
    "STOPPED": State.RUNNING,
}
_COMPLETE: Final[Mapping[str, State]] = {
    "SUCCEEDED": State.SUCCEEDED,
    "FAILED": State.FAILED,
    # Somebody stopped it in Ray. KubeRay calls that complete, too.
    "STOPPED": State.FAILED,
}


def state_of(deployment: str, job: str) -> State:
    """The state of a RayJob by its two words; a word that is not there yet is the empty text."""
    if deployment in _ON_ITS_WAY:
        return State.WAITING
    if deployment == "Suspended":
        return State.SUSPENDED
    if deployment == "Running":
        return _AT_WORK.get(job, State.UNKNOWN)
    if deployment == "Complete":
        return _COMPLETE.get(job, State.UNKNOWN)
    if deployment in ("Failed", "ValidationFailed"):
        return State.FAILED
    return State.UNKNOWN


def cluster_state(word: str, *, provisioned: bool) -> State:
    """The state of a task that makes a RayCluster: it has done so when the cluster is ready.

    `word` is `status.state`; `provisioned` is whether all its pods were ready once, after which
    the word may be empty while a worker is replaced.
    """
    if word == "ready" or (provisioned and word in ("", "failed")):
        return State.SUCCEEDED
    # "failed" is about the latest try of KubeRay, which goes on trying.
    return State.WAITING if word in ("", "suspended", "failed") else State.UNKNOWN
