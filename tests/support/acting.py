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

    def make_units(self, *tasks: str) -> None:
        """One ExecutionUnit for each of these tasks, or for all, owned by the experiment."""
        found = self._experiment()
        owner = self._owner(found)
        wanted = [each for each in found["spec"]["tasks"] if not tasks or each["name"] in tasks]
        self.kube.apply(*[self._unit(task, owner) for task in wanted])

    def make_members(self, task: str, *indices: int) -> None:
        """The units of some members of a task's matrix."""
        found = self._experiment()
        owner = self._owner(found)
        wanted = next(each for each in found["spec"]["tasks"] if each["name"] == task)
        units = []
        for index in indices:
            unit = self._unit(wanted, owner)
            unit["metadata"]["name"] += f"-{index}"
            unit["metadata"]["labels"]["runyard.dev/member"] = str(index)
            unit["spec"]["member"] = {"index": index, "values": {"n": str(index)}}
            units.append(unit)
        self.kube.apply(*units)

    def _experiment(self) -> dict[str, Any]:
        found = self.kube.get("experiments.runyard.dev", self.experiment)
        assert found is not None
        return found

    def _owner(self, found: dict[str, Any]) -> dict[str, Any]:
        return {
            "apiVersion": found["apiVersion"],
            "kind": found["kind"],
            "name": self.experiment,
            "uid": found["metadata"]["uid"],
            "controller": True,
        }

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

    def records(self, **states: str) -> None:
        """The experiment is Running, and has this record of its tasks."""
        records = [{"name": name, "states": each} for name, each in states.items()]
        self.status("Running", tasks=records)

    def plan(self, texts: dict[str, str], phase: str = "Succeeded", **status: Any) -> None:
        """The plan of an experiment in mode Plan."""
        name = f"{self.experiment}-plan"
        metadata = {"name": name, "ownerReferences": [self._owner(self._experiment())]}
        self.kube.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": texts}
        )
        self.status(phase, plan={"configMap": name, "digest": "sha256:0"}, **status)

    def _patch(self, kind: str, name: str, phase: str, status: dict[str, Any]) -> None:
        patch = json.dumps({"status": {"phase": phase, **status}})
        self.kube.run("patch", kind, name, "--subresource=status", "--type=merge", "-p", patch)
