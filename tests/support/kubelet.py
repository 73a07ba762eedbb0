"""Plays the kubelet where there is none: it moves pods on, so that the real controllers react.

At level `api` the API server and the controller-manager are real and no pod ever starts. A test
says how each task's pods end, and asserts on what the operator makes of it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.kubectl import Kubectl

_NOW = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class End:
    """How the main container of a task's pods ends."""

    exit_code: int = 0
    message: str = ""


@dataclass(slots=True)
class Kubelet:
    """A thread that lets pods run and end; tasks in `held` stay running until they are let go."""

    kube: Kubectl
    ends: Mapping[str, End] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Kubelet:
        self._thread = threading.Thread(target=self._run, name="kubelet")
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            answer = self.kube.result("get", "pods", "-o", "json")
            if answer.returncode == 0:  # an API server that is down is a part of some tests
                for pod in json.loads(answer.stdout)["items"]:
                    self._move(pod)

    def _move(self, pod: Mapping[str, Any]) -> None:
        task = pod["metadata"].get("labels", {}).get("runyard.dev/task", "")
        if pod["metadata"].get("deletionTimestamp"):
            self.kube.result(
                "delete", "pod", pod["metadata"]["name"], "--force", "--grace-period=0"
            )
            return
        phase = pod["status"].get("phase", "Pending")
        if phase == "Pending":
            self._patch(pod, "Running", {"running": {"startedAt": _NOW}})
        elif phase == "Running" and task not in self.held:
            end = self.ends.get(task, End())
            state = {
                "terminated": {
                    "exitCode": end.exit_code,
                    "reason": "Completed" if end.exit_code == 0 else "Error",
                    "message": end.message,
                    "startedAt": _NOW,
                    "finishedAt": _NOW,
                }
            }
            self._patch(pod, "Succeeded" if end.exit_code == 0 else "Failed", state)

    def _patch(self, pod: Mapping[str, Any], phase: str, state: dict[str, Any]) -> None:
        name = pod["spec"]["containers"][0]["name"]
        container = {
            "name": name,
            "image": "x",
            "imageID": "x",
            "ready": phase == "Running",
            "restartCount": 0,
            "state": state,
        }
        status = {
            "phase": phase,
            "startTime": _NOW,
            "containerStatuses": [container],
            "conditions": [{"type": "Ready", "status": "True" if phase == "Running" else "False"}],
        }
        self.kube.result(
            "patch", "pod", pod["metadata"]["name"], "--subresource=status", "--type=merge",
            "-p", json.dumps({"status": status}),
        )  # fmt: skip
