"""The parts of an observation that every pod-running executor has in common. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from runyard.api.policy import FailureClass
from runyard.api.unit import ArtifactStatus, Handle
from runyard_operator.backends.base import Target
from runyard_operator.backends.pods import outputs
from runyard_operator.backends.pods.failure import why_failed
from runyard_operator.backends.pods.labels import ANNOTATION_SUSPENDED
from runyard_operator.backends.pods.view import PodView, instant
from runyard_operator.backends.pods.waiting import why_waiting
from runyard_operator.engine import reasons
from runyard_operator.engine.observation import Observation, State


def handle_of(child: Mapping[str, Any]) -> Handle:
    """The handle of a Job or TrainJob."""
    metadata = child["metadata"]
    return Handle(kind=child["kind"], name=metadata["name"], uid=metadata["uid"])


def condition(child: Mapping[str, Any], type_: str) -> Mapping[str, Any] | None:
    """The condition of that type, when it is True."""
    for each in (child.get("status") or {}).get("conditions") or []:
        if each["type"] == type_ and each["status"] == "True":
            found: Mapping[str, Any] = each
            return found
    return None


def is_terminal(child: Mapping[str, Any]) -> bool:
    """Whether a Job or TrainJob says that it has ended."""
    return condition(child, "Complete") is not None or condition(child, "Failed") is not None


def is_suspended(child: Mapping[str, Any]) -> bool:
    """Whether a Job or TrainJob is suspended, by whomever; its pods may still be ending."""
    wanted = (child.get("spec") or {}).get("suspend", True)
    return bool(wanted) and condition(child, "Suspended") is not None


def suspended_by_us(child: Mapping[str, Any]) -> bool:
    """Whether Runyard has suspended it."""
    marks = child["metadata"].get("annotations") or {}
    return ANNOTATION_SUSPENDED in marks and is_suspended(child)


def started(pods: Sequence[PodView]) -> int:
    """How many pods run the task or have run it."""
    return sum(1 for pod in pods if pod.has_started)


def start_time(pods: Sequence[PodView]) -> datetime | None:
    """When the task's own container first ran: not when the job was made."""
    times = [pod.main.started for pod in pods if pod.main is not None and pod.main.started]
    return min(times, default=None)


def alive(pods: Sequence[PodView]) -> bool:
    """Whether a pod has not ended yet."""
    return any(pod.phase not in ("Succeeded", "Failed") for pod in pods)


def newest(pods: Sequence[PodView]) -> list[PodView]:
    """The newest pod of each job and rank: those before it were replaced."""
    found: dict[tuple[str, int], PodView] = {}
    for pod in sorted(pods, key=lambda pod: pod.created):
        found[pod.job, pod.rank] = pod
    return list(found.values())


def first(pods: Sequence[PodView]) -> PodView | None:
    """The pod of node rank 0."""
    return next((pod for pod in pods if pod.rank == 0), None)


def waiting(child: Mapping[str, Any], pods: Sequence[PodView], expected: int) -> Observation:
    """The job is accepted and does not run yet."""
    if suspended_by_us(child):
        reason, message = "Suspended", "the job is being suspended: its pods end"
    elif is_suspended(child):
        reason, message = "Suspended", "the job is suspended; a queue manager may resume it"
    else:
        reason, message = why_waiting(pods, expected)
    leader = first(pods)
    return Observation(
        state=State.WAITING,
        handle=handle_of(child),
        reason=reason,
        message=message,
        node=leader.node if leader else None,
    )


def suspended(child: Mapping[str, Any]) -> Observation:
    """The job is kept, and nothing of it runs."""
    return Observation(
        state=State.SUSPENDED,
        handle=handle_of(child),
        message="the job is suspended, and its pods have ended",
    )


def running(child: Mapping[str, Any], pods: Sequence[PodView]) -> Observation:
    """The job runs."""
    leader = first(pods)
    return Observation(
        state=State.RUNNING,
        handle=handle_of(child),
        node=leader.node if leader else None,
        start_time=start_time(pods),
    )


def succeeded(
    target: Target, child: Mapping[str, Any], pods: Sequence[PodView], ended: datetime | None
) -> Observation:
    """The job succeeded; it counts as failed when the outputs did not come with it."""
    leader = first([pod for pod in pods if pod.phase == "Succeeded"])
    values: tuple[tuple[str, str], ...] = ()
    left: tuple[ArtifactStatus, ...] = ()
    declared = [each.name for each in target.spec.outputs]
    wanted = target.spec.artifacts
    problem = None
    if (declared or wanted) and leader is None:
        problem = "the task succeeded, and its pod was removed before its outputs were read"
    elif (declared or wanted) and leader is not None:
        try:
            message = leader.main.end_message if leader.main else ""
            values = outputs.parse(message, declared)
            left = outputs.artifacts(message, wanted)
        except outputs.OutputsError as missing:
            problem = str(missing)
    return Observation(
        state=State.SUCCEEDED if problem is None else State.FAILED,
        handle=handle_of(child),
        reason="" if problem is None else reasons.OUTPUTS_MISSING,
        message=problem or "",
        node=leader.node if leader else None,
        exit_code=0,
        failure_class=None if problem is None else FailureClass.ERROR,
        outputs=values,
        artifacts=left,
        start_time=start_time(pods),
        completion_time=ended,
    )


def failed(
    child: Mapping[str, Any], pods: Sequence[PodView], verdict: Mapping[str, Any]
) -> Observation:
    """The job failed; `verdict` is its Failed condition."""
    failure = why_failed(pods, verdict)
    return Observation(
        state=State.FAILED,
        handle=handle_of(child),
        reason=failure.reason,
        message=failure.message,
        node=failure.node,
        exit_code=failure.exit_code,
        failure_class=failure.failure_class,
        last_log_lines=failure.last_log_lines,
        start_time=start_time(pods),
        completion_time=instant(verdict.get("lastTransitionTime")),
    )


def terminating(child: Mapping[str, Any]) -> Observation:
    """The job is being deleted."""
    return Observation(
        state=State.TERMINATING, handle=handle_of(child), message="the job is being deleted"
    )
