"""Why an attempt failed, told by its pods."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from runyard.api.policy import FailureClass
from runyard_operator.backends.pods import group, outputs, packages
from runyard_operator.backends.pods.template import INIT_CONTAINER
from runyard_operator.backends.pods.view import ContainerView, PodView
from runyard_operator.backends.pods.wrapper import EXIT_OUTPUTS
from runyard_operator.engine import reasons

MAX_LINES: Final = 20
MAX_LINE: Final = 1024

_LATE: Final = datetime.max.replace(tzinfo=UTC)

_DISRUPTIONS: Final[Mapping[str, FailureClass]] = {
    "PreemptionByScheduler": FailureClass.PREEMPTED,
    "EvictionByEvictionAPI": FailureClass.PREEMPTED,
    "TerminationByKubelet": FailureClass.PREEMPTED,
    "DeletionByTaintManager": FailureClass.NODE_FAILURE,
    "DeletionByPodGC": FailureClass.NODE_FAILURE,
}
_POD_REASONS: Final[Mapping[str, FailureClass]] = {
    "Evicted": FailureClass.PREEMPTED,
    "Preempting": FailureClass.PREEMPTED,
    "Preempted": FailureClass.PREEMPTED,
    "NodeLost": FailureClass.NODE_FAILURE,
    "NodeShutdown": FailureClass.NODE_FAILURE,
    "Shutdown": FailureClass.NODE_FAILURE,
    "Terminated": FailureClass.NODE_FAILURE,
}
_CONTAINER_REASONS: Final[Mapping[str, FailureClass]] = {
    "OOMKilled": FailureClass.OUT_OF_MEMORY,
    "ContainerStatusUnknown": FailureClass.NODE_FAILURE,
    "Unknown": FailureClass.NODE_FAILURE,
    "StartError": FailureClass.LAUNCH_FAILED,
    "ContainerCannotRun": FailureClass.LAUNCH_FAILED,
    "RunContainerError": FailureClass.LAUNCH_FAILED,
}
_POD_FAILED: Final = frozenset(
    {"BackoffLimitExceeded", "FailedJobs", "PodFailurePolicy", "ReachedMaxRestarts"}
)
"""Reasons of a Failed condition that mean that a pod failed; with none left, it was deleted."""
_TORCHRUN_FAILED: Final = re.compile(
    r"torch/distributed/elastic/multiprocessing/api\.py:\d+\] failed \(exitcode"
)
_NEVER_RAN: Final = frozenset({"StartError", "ContainerCannotRun", "RunContainerError"})
_EXIT_HINTS: Final[Mapping[int, str]] = {
    126: "the program is there and cannot be executed",
    127: "a program was not found: is it in the image?",
    137: "it was killed (SIGKILL)",
    139: "it crashed (SIGSEGV)",
    143: "it was asked to end (SIGTERM)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The end of the pod that failed first."""

    failure_class: FailureClass
    reason: str
    message: str
    node: str | None = None
    exit_code: int | None = None
    last_log_lines: tuple[str, ...] = ()


def last_lines(text: str) -> tuple[str, ...]:
    """The last lines of a container's log, bounded in number and length.

    The traceback and the summary that torchrun adds when its child has failed are left out: they
    would push out what the child itself said.
    """
    lines = [line for line in (each.rstrip() for each in text.splitlines()) if line]
    ends = [at for at, line in enumerate(lines) if _TORCHRUN_FAILED.search(line)]
    kept = lines[: ends[0] + 1] if ends else lines
    return tuple(line[:MAX_LINE] for line in kept[-MAX_LINES:])


def never_ran(container: ContainerView) -> bool:
    """Whether the container runtime could not even start it."""
    return container.end_reason in _NEVER_RAN


def culprit(pods: Sequence[PodView]) -> PodView | None:
    """The pod that failed first: the others fail or are stopped because it did."""

    def when(pod: PodView) -> tuple[datetime, int]:
        # Of a group, the role that failed first tells when.
        part = part_that_failed(pod)
        ends = [each.finished for each in (*pod.init, part or pod.main) if each and each.finished]
        return max(ends, default=_LATE), pod.rank

    return min((each for each in pods if _failed(each)), key=when, default=None)


def _failed(pod: PodView) -> bool:
    return pod.phase == "Failed" or any(each.exit_code for each in pod.deciding)


def part_that_failed(pod: PodView) -> ContainerView | None:
    """The task's container that failed; of a group, that of the role that failed first."""
    failed = [each for each in pod.deciding if each.exit_code]
    own = [each for each in failed if group.ended_by(each.end_message) is None]
    # min() keeps the order of the roles where times, which are whole seconds, are equal.
    return min(own or failed, key=lambda each: each.finished or _LATE, default=None)


def why_failed(pods: Sequence[PodView], verdict: Mapping[str, str]) -> Failure:
    """The failure of an attempt; `verdict` is the Failed condition of its job."""
    pod = culprit(pods)
    if pod is None:
        return _without_pod(verdict)
    broken = next((each for each in pod.init if each.exit_code), None)
    if broken is not None:
        return _of(pod, broken, FailureClass.LAUNCH_FAILED, _init_message(pod, broken))
    part = part_that_failed(pod) or pod.main
    if part is not None and part.exit_code == EXIT_OUTPUTS:
        refusal = outputs.refusal(part.end_message)
        if refusal is not None:
            unfinished = outputs.is_unfinished(part.end_message)
            reason = None if unfinished else reasons.OUTPUTS_MISSING
            return _of(pod, part, FailureClass.ERROR, refusal, reason)
    kind, detail = _classify(pod, part)
    role = f", role {part.role}" if part is not None and part.role else ""
    return _of(pod, part, kind, f"pod {pod.name}{role}: {detail}")


def _without_pod(verdict: Mapping[str, str]) -> Failure:
    reason = verdict.get("reason") or ""
    if reason in _POD_FAILED:
        return Failure(
            failure_class=FailureClass.PREEMPTED,
            reason=FailureClass.PREEMPTED.value,
            message="a pod of the job was deleted from outside before it ended (a drained node, an"
            " eviction, or kubectl delete pod)",
        )
    return Failure(
        failure_class=FailureClass.ERROR,
        reason=FailureClass.ERROR.value,
        message=f"{reason}: {verdict.get('message') or ''}".strip(": "),
    )


def _of(
    pod: PodView,
    container: ContainerView | None,
    kind: FailureClass,
    message: str,
    reason: str | None = None,
) -> Failure:
    log = "" if container is None or _is_no_log(container) else container.end_message
    return Failure(
        failure_class=kind,
        reason=reason or kind.value,
        message=message,
        node=pod.node,
        exit_code=container.exit_code if container else None,
        last_log_lines=last_lines(log),
    )


def _is_no_log(container: ContainerView) -> bool:
    """Whether the termination message is the wrapper's or the container runtime's own."""
    message = container.end_message
    return never_ran(container) or outputs.is_framed(message) or group.ended_by(message) is not None


def _init_message(pod: PodView, container: ContainerView) -> str:
    said = container.end_message.strip().splitlines()
    ours = container.name == packages.CONTAINER
    if ours and never_ran(container):
        why = said[-1] if said else container.end_reason
        return f"packages need python3 in the task's image, and it cannot be started there: {why}"
    if container.end_reason == "OOMKilled":
        hint = ": raise executor memory" if ours else ""
        return f"pod {pod.name}: init container {container.name} had too little memory{hint}"
    if said and (ours or container.name == INIT_CONTAINER):
        return said[-1]
    return f"pod {pod.name}: init container {container.name} ended with {container.exit_code}"


def disruption_of(pod: PodView) -> FailureClass | None:
    """The class of failure of a pod that was taken away; None when it was not."""
    if pod.reason in _POD_REASONS:
        return _POD_REASONS[pod.reason]
    if pod.disruption is not None:
        return _DISRUPTIONS.get(pod.disruption[0], FailureClass.NODE_FAILURE)
    return None


def _classify(pod: PodView, part: ContainerView | None) -> tuple[FailureClass, str]:
    """Class and detail. Memory speaks first: an eviction would be told as such anyway."""
    if part is not None and part.end_reason == "OOMKilled":
        return FailureClass.OUT_OF_MEMORY, "out of memory: raise executor memory or memoryLimit"
    if pod.reason in _POD_REASONS:
        return _POD_REASONS[pod.reason], f"{pod.reason}: {pod.message}".rstrip(": ")
    if pod.disruption is not None:
        reason, message = pod.disruption
        return _DISRUPTIONS.get(reason, FailureClass.NODE_FAILURE), f"{reason}: {message}"
    if part is None or part.exit_code is None:
        # The kubelet turned the pod down (OutOfcpu, NodeAffinity, ...): nothing of it has run.
        return FailureClass.LAUNCH_FAILED, f"{pod.reason or 'Failed'}: {pod.message}".rstrip(": ")
    if part.end_reason in _CONTAINER_REASONS:
        detail = f"{part.end_reason}: {part.end_message}".rstrip(": \n")
        return _CONTAINER_REASONS[part.end_reason], detail
    hint = _EXIT_HINTS.get(part.exit_code)
    return FailureClass.ERROR, f"exit code {part.exit_code}" + (f", {hint}" if hint else "")
