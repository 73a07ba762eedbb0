"""A RayJob, or a RayCluster, and its pods to what they say about the attempt. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from runyard.api.policy import FailureClass
from runyard_operator.backends.base import Target
from runyard_operator.backends.pods import result
from runyard_operator.backends.pods.labels import ANNOTATION_SUSPENDED
from runyard_operator.backends.pods.view import instant
from runyard_operator.backends.ray import raypods
from runyard_operator.backends.ray.protocol import EXIT_RAY, read_trouble
from runyard_operator.backends.ray.raypods import RayPods
from runyard_operator.backends.ray.states import cluster_state, state_of
from runyard_operator.engine.observation import Observation, State

Child = Mapping[str, Any]
Pods = Sequence[Mapping[str, Any]]

_VERDICTS: Final[Mapping[str, FailureClass]] = {
    "DeadlineExceeded": FailureClass.TIMEOUT,
    "PreRunningDeadlineExceeded": FailureClass.TIMEOUT,
    "ValidationFailed": FailureClass.LAUNCH_FAILED,
}
_TROUBLES: Final[Mapping[str, FailureClass]] = {
    "Refused": FailureClass.LAUNCH_FAILED,
    "Launch": FailureClass.LAUNCH_FAILED,
    "Lost": FailureClass.BACKEND_LOST,
    "Stopped": FailureClass.ERROR,
    "Memory": FailureClass.OUT_OF_MEMORY,
}
"""What the submitter says when not the driver has failed, but Ray."""
_DASHBOARD: Final = 8265


def observe(target: Target, child: Child, pods: Pods) -> Observation:
    """The state of the attempt's RayJob or RayCluster."""
    if child["metadata"].get("deletionTimestamp"):
        return result.terminating(child)
    seen = raypods.of(pods)
    make = _cluster if child["kind"] == "RayCluster" else _job
    return replace(make(target, child, seen), dashboard_url=dashboard(child))


def is_settled(child: Child) -> bool:
    """Whether the RayJob has ended or holds nothing: its pods are read afresh then."""
    return child["kind"] == "RayJob" and _state(child) in (
        State.SUCCEEDED, State.FAILED, State.SUSPENDED,
    )  # fmt: skip


def dashboard(child: Child) -> str | None:
    """The address of Ray's dashboard inside the Kubernetes cluster; None as long as there is none.

    It is not open to the outside: `kubectl port-forward` reaches its service.
    """
    status = child.get("status") or {}
    if child["kind"] == "RayJob":
        known: str = status.get("dashboardURL") or ""
    else:
        service = (status.get("head") or {}).get("serviceName")
        namespace = child["metadata"]["namespace"]
        known = f"{service}.{namespace}.svc.cluster.local:{_DASHBOARD}" if service else ""
    return known if not known or "://" in known else f"http://{known}"


def _state(child: Child) -> State:
    status = child.get("status") or {}
    return state_of(status.get("jobDeploymentStatus") or "", status.get("jobStatus") or "")


def _job(target: Target, child: Child, pods: RayPods) -> Observation:
    status = child.get("status") or {}
    match _state(child):
        case State.SUCCEEDED:
            ended = instant(status.get("endTime"))
            return result.succeeded(target, child, pods.submitters, ended)
        case State.FAILED:
            return _failed(child, pods)
        case State.RUNNING:
            info = status.get("rayJobInfo") or {}
            seen = result.running(child, pods.submitters)
            return replace(seen, start_time=instant(info.get("startTime")) or seen.start_time)
        case State.SUSPENDED:
            marks = child["metadata"].get("annotations") or {}
            if ANNOTATION_SUSPENDED in marks and not result.alive(pods.every):
                return result.suspended(child)
            return _waiting(target, child, pods)
        case State.WAITING:
            return _waiting(target, child, pods)
        case _:
            words = f"{status.get('jobDeploymentStatus')!r} and {status.get('jobStatus')!r}"
            return Observation(
                state=State.UNKNOWN,
                handle=result.handle_of(child),
                message=f"KubeRay says {words}, which nobody here understands: see `kubectl"
                " describe rayjob`",
            )


def _cluster(target: Target, child: Child, pods: RayPods) -> Observation:
    status = child.get("status") or {}
    ready = result.condition(child, "RayClusterProvisioned")
    state = cluster_state(status.get("state") or "", provisioned=ready is not None)
    if state is State.WAITING:
        return _waiting(target, child, pods)
    name = child["metadata"]["name"]
    times = status.get("stateTransitionTimes") or {}
    since = times.get("ready") or (ready or {}).get("lastTransitionTime")
    done = state is State.SUCCEEDED
    return Observation(
        state=state,
        handle=result.handle_of(child),
        message=f"the Ray cluster {name} is ready" if done else f"KubeRay says {status['state']!r}",
        node=pods.head.node if pods.head else None,
        completion_time=instant(since) if done else None,
        start_time=instant(child["metadata"].get("creationTimestamp")) if done else None,
    )


def _waiting(target: Target, child: Child, pods: RayPods) -> Observation:
    """Not running yet: the pods say why, or KubeRay does when it cannot make them."""
    suspended = bool((child.get("spec") or {}).get("suspend"))
    if suspended:
        ours = ANNOTATION_SUSPENDED in (child["metadata"].get("annotations") or {})
        reason, message = (
            "Suspended",
            (
                "the job is being suspended: its pods end"
                if ours
                else "the job is suspended; a queue manager may resume it"
            ),
        )
    else:
        reason, message = _cannot_make_pods(child) or raypods.why_waiting(target, pods)
    return Observation(
        state=State.WAITING,
        handle=result.handle_of(child),
        reason=reason,
        message=message,
        node=pods.head.node if pods.head else None,
    )


def _cannot_make_pods(child: Child) -> tuple[str, str] | None:
    status = child.get("status") or {}
    cluster = status.get("rayClusterStatus") or {} if child["kind"] == "RayJob" else status
    for each in cluster.get("conditions") or []:
        if each["type"] == "ReplicaFailure" and each["status"] == "True":
            return each.get("reason") or "ReplicaFailure", each.get("message") or ""
    return None


def _failed(child: Child, pods: RayPods) -> Observation:
    """Why it failed: memory first, then the driver's own end, then Ray's, then KubeRay's words."""
    status = child.get("status") or {}
    verdict = {
        "reason": status.get("reason") or "",
        "message": status.get("message") or "",
        "lastTransitionTime": status.get("endTime"),
    }
    main = next((each.main for each in pods.submitters if each.main is not None), None)
    kind = _VERDICTS.get(status.get("reason") or "")
    # KubeRay ends the submitter when a deadline has passed; its end is no cause.
    seen = result.failed(child, [] if kind is not None else pods.submitters, verdict)
    trouble = read_trouble(main.end_message) if main is not None else None
    if kind is not None:
        seen = replace(seen, failure_class=kind, reason=kind.value)
    elif trouble is not None:
        word, text = trouble
        kind = pods.disruption() or _TROUBLES.get(word, FailureClass.ERROR)
        seen = replace(
            seen, failure_class=kind, reason=kind.value, message=text, last_log_lines=(),
            exit_code=None if seen.exit_code == EXIT_RAY else seen.exit_code,
        )  # fmt: skip
    elif main is None and verdict["reason"] == "SubmissionFailed":
        kind = FailureClass.PREEMPTED
        text = "the pod that followed the Ray job was deleted from outside before the job ended"
        seen = replace(seen, failure_class=kind, reason=kind.value, message=text)
    out_of_memory = pods.out_of_memory()
    if out_of_memory is not None:
        kind = FailureClass.OUT_OF_MEMORY
        seen = replace(seen, failure_class=kind, reason=kind.value, message=out_of_memory)
    return seen
