"""Plays the operator for tests of the client: makes units and writes statuses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.support.kubectl import Kubectl


def stamp() -> str:
    """Now, as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class ActingOperator:
    """Writes what the operator would write; for tests that check what the client makes of it."""

    kube: Kubectl
    experiment: str

    def make_units(self) -> None:
        """One ExecutionUnit for each task, owned by the experiment."""
        found = self.kube.get("experiments.runyard.dev", self.experiment)
        assert found is not None
        owner = {
            "apiVersion": found["apiVersion"],
            "kind": found["kind"],
            "name": self.experiment,
            "uid": found["metadata"]["uid"],
            "controller": True,
        }
        self.kube.apply(*[self._unit(task, owner) for task in found["spec"]["tasks"]])

    def _unit(self, task: dict[str, Any], owner: dict[str, Any]) -> dict[str, Any]:
        labels = {"runyard.dev/experiment": self.experiment, "runyard.dev/task": task["name"]}
        return {
            "apiVersion": "runyard.dev/v1alpha1",
            "kind": "ExecutionUnit",
            "metadata": {
                "name": f"{self.experiment}-{task['name']}",
                "labels": labels,
                "ownerReferences": [owner],
            },
            "spec": {
                "experiment": self.experiment,
                "task": task["name"],
                "script": task["script"],
                "executor": task["executor"],
            },
        }

    def unit(self, task: str, phase: str, **status: Any) -> None:
        """The status of a task's unit."""
        self._patch("executionunits.runyard.dev", f"{self.experiment}-{task}", phase, status)

    def status(self, phase: str, **status: Any) -> None:
        """The status of the experiment."""
        self._patch("experiments.runyard.dev", self.experiment, phase, status)

    def _patch(self, kind: str, name: str, phase: str, status: dict[str, Any]) -> None:
        patch = json.dumps({"status": {"phase": phase, **status}})
        self.kube.run("patch", kind, name, "--subresource=status", "--type=merge", "-p", patch)
