"""The job of an elastic training's nodes: lost pods are made anew within the attempt. Pure."""

from __future__ import annotations

from typing import Any

from runyard_operator.backends.base import Target


def make_elastic(job_spec: dict[str, Any], target: Target) -> None:
    """Lost pods are made anew: those that somebody evicted always, others `maxRestarts` times.

    A pod that was deleted, and one whose program failed, look the same to a Job: the limit ends a
    program that fails whenever it is started.
    """
    launcher = target.spec.launcher.distributed if target.spec.launcher is not None else None
    evicted = {"type": "DisruptionTarget", "status": "True"}
    job_spec.update(
        backoffLimit=(launcher.max_restarts if launcher is not None else None) or 0,
        podReplacementPolicy="Failed",
        podFailurePolicy={"rules": [{"action": "Ignore", "onPodConditions": [evicted]}]},
    )
    # A Job takes a podFailurePolicy only where the kubelet restarts nothing by itself.
    job_spec["template"]["spec"]["restartPolicy"] = "Never"
