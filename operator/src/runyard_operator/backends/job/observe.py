"""A Job and its pods to what they say about the attempt. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runyard_operator.backends.base import Target
from runyard_operator.backends.pods import result
from runyard_operator.backends.pods.view import instant, pod_view
from runyard_operator.engine.observation import Observation


def observe(
    target: Target, child: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]
) -> Observation:
    """The state of the attempt's Job.

    A pod that has ended leaves the Job running until the Job itself says how it ended. It runs
    when the task runs in every pod.
    """
    if child["metadata"].get("deletionTimestamp"):
        return result.terminating(child)
    every = [pod_view(each) for each in pods]
    views = result.newest(every)
    complete = result.condition(child, "Complete")
    if complete is not None:
        ended = child["status"].get("completionTime") or complete.get("lastTransitionTime")
        return result.succeeded(target, child, views, instant(ended))
    verdict = result.condition(child, "Failed")
    if verdict is not None:
        return result.failed(child, views, verdict)
    status = child.get("status") or {}
    busy = status.get("active") or status.get("terminating") or result.alive(every)
    if result.suspended_by_us(child) and not busy:
        return result.suspended(child)
    ready = any(status.get(each) for each in ("ready", "succeeded", "failed"))
    expected = child["spec"].get("completions") or 1
    if result.started(views) >= expected or (ready and not views):
        return result.running(child, views)
    return result.waiting(child, views, expected)
