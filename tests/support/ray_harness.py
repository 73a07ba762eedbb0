"""executor.ray on a real API server without KubeRay's controller: the harness writes its status."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from runyard_operator.backends.base import Manifest, Target
from tests.support.incluster_harness import InClusterHarness
from tests.support.targets import make_target

IMAGE = "testbed.local/worker:dev"
CLUSTER = "ray-cluster"
HEAD = {"template": {"spec": {"containers": [{"name": "c", "image": "x"}]}}, "rayStartParams": {}}


@dataclass
class RayHarness(InClusterHarness):
    """A RayJob with a cluster of its own."""

    resource = "rayjobs.ray.io"

    def stranger(self, target: Target) -> Manifest:
        return {
            "apiVersion": self.make.child_api,
            "kind": "RayJob",
            "metadata": {"name": self.child(target)},
            "spec": {"entrypoint": "true", "rayClusterSpec": {"headGroupSpec": HEAD}},
        }

    async def run(self, target: Target) -> None:
        await self.say(target, jobDeploymentStatus="Running", jobStatus="RUNNING")

    async def end(self, target: Target, *, success: bool) -> None:
        how = ("Complete", "SUCCEEDED") if success else ("Failed", "FAILED")
        await self.say(target, jobDeploymentStatus=how[0], jobStatus=how[1])

    async def confuse(self, target: Target) -> None:
        await self.say(target, jobDeploymentStatus="Bewildered")

    async def pause(self) -> None:
        """KubeRay's part in a suspend."""
        await super().pause()
        for job in await asyncio.to_thread(self.kube.list, self.resource):
            told = job.get("status", {}).get("jobDeploymentStatus") == "Suspended"
            wanted = bool(job["spec"].get("suspend"))
            if job["metadata"]["name"].startswith(self.name) and wanted != told:
                word = "Suspended" if wanted else ""
                patch = json.dumps({"status": {"jobDeploymentStatus": word, "jobStatus": ""}})
                name = job["metadata"]["name"]
                await self._kubectl(
                    "patch", self.resource, name, "--subresource=status", "--type=merge",
                    "-p", patch,
                )  # fmt: skip


@dataclass
class BorrowingHarness(RayHarness):
    """A RayJob on the cluster that another unit has made."""

    async def target(self, attempt: int = 1) -> Target:
        maker: dict[str, Any] = {"ray": {"image": IMAGE, "cluster": {}}}
        made = await asyncio.to_thread(
            make_target, self.kube, CLUSTER, task=CLUSTER, executor=maker, script=None
        )
        await self.new().submit(made)
        return await super().target(attempt)
