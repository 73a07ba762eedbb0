"""Why an attempt's pods do not run yet, in words for the person who waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from runyard_operator.backends.pods.view import PodView
from runyard_operator.engine import reasons

HINTS: Final[Mapping[str, str]] = {
    "ImagePullBackOff": "check the image's name, and imagePullSecrets when its registry is private",
    "ErrImagePull": "check the image's name, and imagePullSecrets when its registry is private",
    "ErrImageNeverPull": "the image is not on the node and imagePullPolicy is Never: load it there",
    "InvalidImageName": "correct the image's name",
    "CreateContainerConfigError": "create the Secret or ConfigMap that the environment refers to",
    "CreateContainerError": "see the message of the container runtime",
    "Unschedulable": "the pod stays in the queue until a node has room for it",
}
INITIALIZING: Final = "PodInitializing"
SAYS_LITTLE: Final = frozenset({INITIALIZING, reasons.WAITING})
"""Reasons that leave a person wondering when they last."""

# What every pod goes through; it says nothing about what is wrong.
_ON_THE_WAY: Final = frozenset({"ContainerCreating", INITIALIZING, ""})


def why_waiting(pods: Sequence[PodView], expected: int) -> tuple[str, str]:
    """Reason (CamelCase) and message; the most telling pod speaks for all.

    `expected` is the number of pods that the attempt is to have.
    """
    if not pods:
        return (
            reasons.WAITING,
            "no pod has been made yet",
        )
    for pod in pods:
        trouble = _container_trouble(pod)
        if trouble is not None:
            return trouble
    for pod in pods:
        if pod.unscheduled is not None:
            reason, message = pod.unscheduled
            return reason or "Unschedulable", _with_hint(pod, reason or "Unschedulable", message)
    started = sum(1 for pod in pods if pod.has_started)
    if started:
        return reasons.WAITING, f"{started} of {expected} pods run"
    return INITIALIZING, "the pod is being set up: images, volumes, code"


def _container_trouble(pod: PodView) -> tuple[str, str] | None:
    for each in (*pod.init, *pod.sidecars, *pod.deciding):
        if each.waiting_reason not in _ON_THE_WAY:
            return each.waiting_reason, _with_hint(pod, each.waiting_reason, each.waiting_message)
    return None


def _with_hint(pod: PodView, reason: str, message: str) -> str:
    parts = (message, HINTS.get(reason, ""))
    return f"pod {pod.name}: " + "; ".join(part for part in parts if part)
