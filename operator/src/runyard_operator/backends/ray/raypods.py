"""The pods of a Ray task, told apart: the submitter, the head, the workers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from runyard.api.policy import FailureClass
from runyard_operator.backends.base import Target
from runyard_operator.backends.pods import failure, waiting
from runyard_operator.backends.pods.view import PodView, pod_view
from runyard_operator.backends.ray.cluster import HEAD, WORKER

NODE_TYPE: Final = "ray.io/node-type"
"""KubeRay's label on head and workers; the submitter has none."""


@dataclass(frozen=True, slots=True)
class Restart:
    """The last end of a container that was started again."""

    pod: str
    container: str
    exit_code: int
    reason: str


@dataclass(frozen=True, slots=True)
class RayPods:
    """The attempt's pods; on a borrowed cluster there is only the submitter."""

    submitters: tuple[PodView, ...]
    """One, or none: nobody makes a second one."""
    head: PodView | None
    workers: tuple[PodView, ...]
    restarts: tuple[Restart, ...]

    @property
    def every(self) -> list[PodView]:
        return [*self.submitters, *([self.head] if self.head else []), *self.workers]

    def out_of_memory(self) -> str | None:
        """The message about a pod of the cluster that was killed for its memory."""
        for each in self.restarts:
            if each.reason == "OOMKilled":
                what = "head" if each.container == HEAD else "workerGroups"
                return (
                    f"pod {each.pod}: out of memory: raise memory or memoryLimit of"
                    f" executor.ray.{what}"
                )
        return None

    def disruption(self) -> FailureClass | None:
        """The class of failure when a pod of the cluster was taken away."""
        found = (failure.disruption_of(pod) for pod in self.every)
        return next((each for each in found if each is not None), None)


def of(pods: Sequence[Mapping[str, Any]]) -> RayPods:
    """Tells the pods apart; of several heads, the newest counts."""
    ordered = sorted(pods, key=lambda each: str(each["metadata"].get("creationTimestamp") or ""))
    by_type: dict[str, list[PodView]] = {}
    for each in ordered:
        kind = (each["metadata"].get("labels") or {}).get(NODE_TYPE) or ""
        by_type.setdefault(kind, []).append(pod_view(_ray_first(each)))
    heads = by_type.get("head", [])
    return RayPods(
        submitters=tuple(by_type.get("", [])),
        head=heads[-1] if heads else None,
        workers=tuple(by_type.get("worker", [])),
        restarts=tuple(found for each in ordered for found in _restarts(each)),
    )


def _ray_first(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with Ray's container in front of the autoscaler's: it speaks for the pod."""
    status = pod.get("status") or {}
    found = sorted(
        status.get("containerStatuses") or [], key=lambda each: each["name"] not in (HEAD, WORKER)
    )
    return {**pod, "status": {**status, "containerStatuses": found}}


def _restarts(pod: Mapping[str, Any]) -> list[Restart]:
    found = []
    for each in (pod.get("status") or {}).get("containerStatuses") or []:
        if each["name"] not in (HEAD, WORKER):
            continue
        for state in (each.get("state") or {}, each.get("lastState") or {}):
            ended = state.get("terminated")
            if ended:
                name, code = pod["metadata"]["name"], int(ended.get("exitCode") or 0)
                found.append(Restart(name, each["name"], code, ended.get("reason") or ""))
    return found


def why_waiting(target: Target, pods: RayPods) -> tuple[str, str]:
    """Reason and message of an attempt whose cluster or submitter is not ready."""
    executor = target.spec.executor.ray
    if executor is None or executor.borrows:
        return waiting.why_waiting(list(pods.submitters), 1)
    expected = 1 + sum(group.replicas for group in executor.worker_groups)
    nodes = [each for each in pods.every if each not in pods.submitters]
    again = next((each for each in pods.restarts if each.exit_code), None)
    if again is not None:
        why = "out of memory" if again.reason == "OOMKilled" else f"exit code {again.exit_code}"
        hint = "; see preRayStartCommands" if executor.pre_ray_start_commands else ""
        return "CrashLoopBackOff", (
            f"pod {again.pod}: {again.container} ended ({why}) and is started again{hint}; `kubectl"
            f" logs --previous {again.pod}` tells more"
        )
    reason, message = waiting.why_waiting(nodes or list(pods.submitters), expected)
    started = sum(1 for each in nodes if each.has_started)
    if reason not in waiting.SAYS_LITTLE or started < expected:
        return reason, message
    if pods.submitters:
        return waiting.why_waiting(list(pods.submitters), 1)
    return reason, "the pods of the Ray cluster run, and Ray is starting in them"
