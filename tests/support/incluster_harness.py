"""The in-cluster backends on a real API server, as the conformance suite drives them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runyard_operator.backends.base import Manifest, Plan, Target
from runyard_operator.backends.incluster import InClusterBackend
from runyard_operator.backends.pods.labels import selector
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.conformance.harness import Harness
from runyard_operator.kube import HttpKubeApi, Ref
from runyard_operator.kube.api import Object, Objects
from runyard_operator.kube.errors import KubeError, Unavailable
from runyard_operator.store import Store
from tests.support.audit import created
from tests.support.kubectl import Kubectl
from tests.support.kubelet import End, Kubelet
from tests.support.targets import make_target

CONFIG = PodConfig(image="testbed.local/operator:dev")
TASK = "main"


class BadLine(HttpKubeApi):
    """The real client on a line that can be told to lose what makes or ends a job of a kind."""

    kind = ""
    cut = False
    lose: str | None = None
    """Of the next such request: `request`, `answer`, or `late` for one that arrives later."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.late: list[Callable[[], Awaitable[object]]] = []

    async def get(self, ref: Ref) -> Object | None:
        self._check()
        return await super().get(ref)

    async def list(self, *args: Any, **options: Any) -> Objects:
        self._check()
        return await super().list(*args, **options)

    async def apply(self, *args: Any, **options: Any) -> Object:
        self._check()
        return await super().apply(*args, **options)

    async def create(self, manifest: Object) -> Object:
        base = super().create
        stored: Object = await self._around(manifest["kind"], lambda: base(manifest))
        return stored

    async def json_patch(self, ref: Ref, *args: Any, **options: Any) -> Object:
        base = super().json_patch
        stored: Object = await self._around(ref.kind, lambda: base(ref, *args, **options))
        return stored

    async def delete(self, ref: Ref, **options: Any) -> bool:
        base = super().delete
        done: bool = await self._around(ref.kind, lambda: base(ref, **options))
        return done

    async def _around(self, kind: str, call: Callable[[], Awaitable[Any]]) -> Any:
        self._check()
        lose = self.lose if kind == self.kind else None
        if lose is None:
            return await call()
        self.lose = None
        if lose == "answer":
            await call()
        elif lose == "late":
            self.late.append(call)
        raise Unavailable(f"the line lost the {lose}")

    def _check(self) -> None:
        if self.cut:
            raise Unavailable("the line is cut")


@dataclass
class InClusterHarness(Harness):
    """A unit of its own in a namespace that other harnesses use, too."""

    kube: Kubectl
    api: BadLine
    make: type[InClusterBackend]
    audit_log: Path
    executor: dict[str, Any]
    name: str = field(default_factory=lambda: f"u{secrets.token_hex(3)}")
    _kubelet: Kubelet | None = None
    _settled: int = 0

    def __post_init__(self) -> None:
        self.api.kind = self.make.child_kind
        self.backend = self.new()

    def new(self) -> InClusterBackend:
        """Another backend that knows nothing; with an empty cache it asks for everything."""
        return self.make(self.api, Store(), CONFIG)

    def close(self) -> None:
        """Ends what moves the pods."""
        if self._kubelet is not None:
            self._kubelet.__exit__(None, None, None)

    async def restart(self) -> None:
        self.backend = self.new()

    async def target(self, attempt: int = 1) -> Target:
        return await asyncio.to_thread(
            make_target, self.kube, self.name, attempt, task=TASK, executor=self.executor
        )

    async def settle(self) -> None:
        """The contract's time is 0 here: what is late arrives after the next call, not before."""
        self._settled += 1
        if self._settled > 1:
            late, self.api.late = self.api.late, []
            for call in late:
                with contextlib.suppress(KubeError):  # nobody listens any more
                    await call()

    async def pause(self) -> None:
        await asyncio.sleep(0.1)

    async def lose_request(self) -> None:
        self.api.lose = "request"

    async def lose_answer(self) -> None:
        self.api.lose = "answer"

    async def delay_request(self) -> None:
        self.api.lose = "late"

    async def cut(self) -> None:
        self.api.cut = True

    async def mend(self) -> None:
        self.api.cut = False

    async def run(self, target: Target) -> None:
        """Pods run by way of a kubelet's part, or there are none and the job says so itself."""
        self._kubelet = Kubelet(self.kube, held={TASK})
        self._kubelet.__enter__()

    async def end(self, target: Target, *, success: bool) -> None:
        assert self._kubelet is not None
        self._kubelet.ends = {TASK: End(0 if success else 3, "" if success else "it broke")}
        self._kubelet.held.clear()

    async def purge(self, target: Target) -> None:
        await self._kubectl("delete", self.resource, self.child(target), "--cascade=foreground")

    async def confuse(self, target: Target) -> None:
        await self.say(target, conditions=[condition("Bewildered")])

    async def take_name(self, target: Target) -> object:
        manifest = self.stranger(target)
        await asyncio.to_thread(self.kube.apply, manifest)
        return await self.foreign(target)

    async def foreign(self, target: Target) -> object:
        found = await asyncio.to_thread(self.kube.get, self.resource, self.child(target))
        if found is None:
            return None
        kept = ("uid", "labels", "annotations", "ownerReferences", "deletionTimestamp")
        return found["spec"], {key: found["metadata"].get(key) for key in kept}

    async def begun(self, target: Target) -> int:
        resource = self.resource.partition(".")[0]
        made = created(self.audit_log, self.kube.namespace, resource)
        return made[resource, self.child(target)]

    async def alive(self, target: Target) -> int:
        ref = self._ref(target)
        job = await HttpKubeApi.get(self.api, ref)
        pods = await HttpKubeApi.list(
            self.api, "v1", "Pod", namespace=ref.namespace, label_selector=selector(target)
        )
        running = [each for each in pods if each["status"]["phase"] in ("Pending", "Running")]
        return max(int(job is not None), len(running))

    async def received(self, target: Target, plan: Plan) -> Sequence[Manifest]:
        found = [await HttpKubeApi.get(self.api, Ref.of(each)) for each in plan.objects]
        return [each for each in found if each is not None]

    # What differs by kind

    resource = "jobs"

    def stranger(self, target: Target) -> Manifest:
        """Somebody else's object of the name."""
        pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": self.child(target)},
            "spec": {"suspend": True, "template": {"spec": pod}},
        }

    def child(self, target: Target) -> str:
        """The name of the attempt's object."""
        return self._ref(target).name

    def _ref(self, target: Target) -> Ref:
        return Ref(
            self.make.child_api,
            self.make.child_kind,
            self.new().child_name(target),
            target.namespace,
        )

    async def say(self, target: Target, **status: Any) -> None:
        """The job's own status says this, too."""
        patch = json.dumps({"status": status})
        name = self.child(target)
        await self._kubectl(
            "patch", self.resource, name, "--subresource=status", "--type=merge", "-p", patch
        )

    async def _kubectl(self, *arguments: str) -> None:
        await asyncio.to_thread(self.kube.run, *arguments)


@dataclass
class TrainJobHarness(InClusterHarness):
    """Without the Trainer's controller: the harness writes the status that it would write."""

    resource = "trainjobs.trainer.kubeflow.org"

    def stranger(self, target: Target) -> Manifest:
        return {
            "apiVersion": self.make.child_api,
            "kind": "TrainJob",
            "metadata": {"name": self.child(target)},
            "spec": {"runtimeRef": {"name": "torch-distributed"}, "suspend": True},
        }

    async def run(self, target: Target) -> None:
        await self.say(target, jobsStatus=[_counts(ready=1, active=1)])

    async def pause(self) -> None:
        """The Trainer's part in a suspend."""
        await super().pause()
        for job in await asyncio.to_thread(self.kube.list, self.resource):
            said = job.get("status", {}).get("conditions", [])
            told = any(each["type"] == "Suspended" and each["status"] == "True" for each in said)
            wanted = bool(job["spec"].get("suspend"))
            if job["metadata"]["name"].startswith(self.name) and wanted != told:
                status = {
                    "conditions": [condition("Suspended", wanted)],
                    "jobsStatus": [_counts(suspended=int(wanted))],
                }
                patch = json.dumps({"status": status})
                name = job["metadata"]["name"]
                await self._kubectl(
                    "patch", self.resource, name, "--subresource=status", "--type=merge",
                    "-p", patch,
                )  # fmt: skip

    async def end(self, target: Target, *, success: bool) -> None:
        await self.say(target, conditions=[condition("Complete" if success else "Failed")])


def _counts(**counts: int) -> dict[str, Any]:
    names = ("active", "failed", "ready", "succeeded", "suspended")
    return {"name": "node", **dict.fromkeys(names, 0), **counts}


def condition(type_: str, true: bool = True) -> dict[str, str]:
    """A condition that is true, or false."""
    return {
        "type": type_,
        "status": str(true),
        "reason": "Test",
        "message": "as the test has it",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
