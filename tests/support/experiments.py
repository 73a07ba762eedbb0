"""Small experiments for tests, as plain manifests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.kubectl import Kubectl
from tests.support.waiting import eventually

EXPERIMENT = "experiments.runyard.dev"
UNIT = "executionunits.runyard.dev"
WORKER = "testbed.local/worker:dev"
TERMINAL = ("Succeeded", "Failed", "Cancelled", "Skipped")


def job(name: str, script: str, **more: Any) -> dict[str, Any]:
    """A task that runs a shell script as a Job."""
    executor = {"job": {"image": WORKER, "imagePullPolicy": "IfNotPresent", "cpu": "50m"}}
    return {
        "name": name,
        "script": {"inline": script, "entrypoint": "sh"},
        "executor": executor,
        **more,
    }


def train_job(name: str, script: str, *, nodes: int = 2, **more: Any) -> dict[str, Any]:
    """A task that runs a shell script on every node of a TrainJob."""
    block = {
        "image": WORKER,
        "imagePullPolicy": "IfNotPresent",
        "cpu": "50m",
        "numNodes": nodes,
    }
    return {
        "name": name,
        "script": {"inline": script, "entrypoint": "sh"},
        "executor": {"trainJob": block},
        **more,
    }


def experiment(name: str, *tasks: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """An Experiment of these tasks."""
    return {
        "apiVersion": "runyard.dev/v1alpha1",
        "kind": "Experiment",
        "metadata": {"name": name},
        "spec": {"tasks": list(tasks), **spec},
    }


def phase(obj: dict[str, Any] | None) -> str | None:
    """The written phase of an experiment or unit."""
    return (obj or {}).get("status", {}).get("phase")


def finished(
    kube: Kubectl, name: str, *, timeout: float = 420, more: Callable[[], str] = lambda: ""
) -> dict[str, Any]:
    """The experiment once it is terminal; `more` adds to what a failure shows.

    An API server that is away for a while is waited for.
    """

    def look() -> dict[str, Any] | None:
        answer = kube.result("get", EXPERIMENT, name, "-o", "jsonpath={.status.phase}")
        return kube.get(EXPERIMENT, name) if answer.stdout in TERMINAL else None

    def explain() -> str:
        kinds = f"{EXPERIMENT},{UNIT},jobs,pods,events"
        return kube.run("get", kinds, "-o", "wide", check=False) + more()

    return eventually(look, f"{name} is terminal", timeout=timeout, interval=0.5, explain=explain)
