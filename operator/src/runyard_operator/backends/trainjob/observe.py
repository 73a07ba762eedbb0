"""A TrainJob and its pods to what they say about the attempt. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runyard_operator.backends.base import Target
from runyard_operator.backends.pods import result
from runyard_operator.backends.pods.view import instant, pod_view
from runyard_operator.backends.trainjob import gang
from runyard_operator.backends.trainjob.runtime import TRAINER_JOB
from runyard_operator.engine.observation import Observation


def observe(
    target: Target, child: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]
) -> Observation:
    """The state of the attempt's TrainJob.

    Only its conditions end it: a pod that failed may be made anew by its runtime. It runs when
    the Trainer says that its job is ready, of a group all of them, or when the task runs in every
    pod; of an elastic one, in as many as it needs.
    """
    if child["metadata"].get("deletionTimestamp"):
        return result.terminating(child)
    every = [pod_view(each) for each in pods]
    views = result.newest(every)
    trainers = [each for each in views if each.job in ("", TRAINER_JOB)]
    complete = result.condition(child, "Complete")
    if complete is not None:
        ended = instant(complete.get("lastTransitionTime"))
        return result.succeeded(target, child, trainers, ended)
    verdict = result.condition(child, "Failed")
    if verdict is not None:
        return result.failed(child, views, verdict)
    if result.suspended_by_us(child) and not _is_busy(child) and not result.alive(every):
        return result.suspended(child)
    jobs = [*gang.job_names(target)]
    ours = [each for each in views if each.job in ("", *jobs)]
    block = target.spec.executor.train_job
    expected = (block.min_nodes if block is not None else None) or gang.pods(target)
    if all(_job_runs(child, each) for each in jobs) or result.started(ours) >= expected:
        return result.running(child, trainers)
    return result.waiting(child, views, expected)


def _is_busy(child: Mapping[str, Any]) -> bool:
    """Whether one of its jobs may still make pods, or has some."""
    jobs = (child.get("status") or {}).get("jobsStatus") or []
    return any(
        each.get("active")
        or not (each.get("suspended") or each.get("succeeded") or each.get("failed"))
        for each in jobs
    )


def _job_runs(child: Mapping[str, Any], name: str) -> bool:
    jobs = (child.get("status") or {}).get("jobsStatus") or []
    return any(
        each.get(count)
        for each in jobs
        if each["name"] == name
        for count in ("ready", "succeeded", "failed")
    )
