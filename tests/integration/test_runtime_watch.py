"""From a real API server's watches to the worker, through restarts, outages and late CRDs.

The reconcilers are replaced by a worker that only notes its keys; all else is the real operator.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runyard.api.constants import API_VERSION, LABEL_EXPERIMENT, LABEL_UNIT, LABEL_UNIT_UID
from runyard_operator.config import Config
from runyard_operator.context import Context
from runyard_operator.handlers import watcher
from runyard_operator.kube import HttpKubeApi, Object, Ref, load_configuration
from runyard_operator.kube.resources import TRAINER
from runyard_operator.leadership import Leadership
from runyard_operator.lease import LEASE_API, LEASE_KIND
from runyard_operator.main import Operator
from runyard_operator.metrics import Metrics
from runyard_operator.queue import Key
from testbed.errors import ClusterError
from tests.support.experiments import experiment, job
from tests.support.kubectl import Kubectl
from tests.support.swallowing import swallowing
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

SECONDS = 120.0
TRAINJOB_CRD = "trainjobs.trainer.kubeflow.org"


class Seen:
    """The keys that a running operator has handed to its worker."""

    def __init__(self) -> None:
        self._keys: set[Key] = set()
        self._news = asyncio.Condition()
        self.context: Context | None = None

    def build(self, context: Context) -> Callable[[Key], Awaitable[float | None]]:
        self.context = context

        async def worker(key: Key) -> float | None:
            async with self._news:
                self._keys.add(key)
                self._news.notify_all()
            return None

        return worker

    def forget(self) -> None:
        self._keys.clear()

    async def wait(self, *keys: Key) -> None:
        """Returns when all of these have come; they are forgotten then."""
        async with asyncio.timeout(SECONDS), self._news:
            await self._news.wait_for(lambda: self._keys.issuperset(keys))
            self._keys.difference_update(keys)

    async def gone(self, key: Key) -> None:
        """Returns when the key has come and the cache does not have its object any more."""
        await self.wait(key)
        while self.stored(key.kind, key.name, key.namespace) is not None:
            await self.wait(key)

    def stored(self, kind: str, name: str, namespace: str) -> Object | None:
        assert self.context is not None
        return self.context.store.get(Ref(API_VERSION, kind, name, namespace))


@asynccontextmanager
async def operator(
    kubeconfig: str, *namespaces: str, lease: Ref | None = None
) -> AsyncIterator[Seen]:
    """A running operator; at the end it must stop in good order."""
    seen, metrics = Seen(), Metrics()
    kube = HttpKubeApi(await load_configuration(kubeconfig), observe=metrics.called)
    config = Config(image="x", namespaces=namespaces, http_port=0, kubeconfig=kubeconfig)
    leadership = None
    if lease is not None:
        line = HttpKubeApi(await load_configuration(kubeconfig))
        leadership = Leadership(line, lease, "me", now=lambda: datetime.now(UTC))
    running = Operator(config, kube, seen.build, metrics, leadership)
    task = asyncio.create_task(running.run())
    try:
        yield seen
    finally:
        running.stop()
        assert await asyncio.wait_for(task, SECONDS)


def revive(cluster: Any) -> None:
    """Starts what was killed; the kernel may take a moment to free a dead process's port."""

    def started() -> bool:
        try:
            cluster.start()
        except ClusterError as error:
            if "is taken by" not in str(error):
                raise
            return False
        return True

    eventually(started, "the cluster is up again", interval=1.0)


@pytest.fixture
async def api(kube: Kubectl) -> AsyncIterator[HttpKubeApi]:
    """A client for the test itself."""
    client = HttpKubeApi(await load_configuration(str(kube.kubeconfig)))
    yield client
    await client.close()


def named(namespace: str, name: str) -> Object:
    """A small experiment."""
    manifest = experiment(name, job("a", "true"))
    manifest["metadata"]["namespace"] = namespace
    return manifest


def unit(namespace: str, name: str, **labels: str) -> Object:
    """A small unit."""
    task = job("a", "true")
    return {
        "apiVersion": API_VERSION,
        "kind": "ExecutionUnit",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"script": task["script"], "executor": task["executor"]},
    }


def child(namespace: str, name: str, labels: dict[str, str]) -> Object:
    """A Job that never gets a pod."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"suspend": True, "template": {"spec": pod}},
    }


async def test_each_object_reaches_whom_it_concerns(
    kube: Kubectl, api: HttpKubeApi, namespace: str
) -> None:
    """Experiments, units and labelled children wake their reconcilers; strangers do not."""
    one, two = Key("Experiment", namespace, "one"), Key("ExecutionUnit", namespace, "two")
    async with operator(str(kube.kubeconfig), namespace) as seen:
        await api.create(named(namespace, "one"))
        await seen.wait(one)
        created = await api.create(unit(namespace, "two", **{LABEL_EXPERIMENT: "one"}))
        await seen.wait(one, two)
        await api.create(child(namespace, "stranger", {LABEL_UNIT: "stranger"}))
        labels = {LABEL_UNIT: "two", LABEL_UNIT_UID: created["metadata"]["uid"]}
        job_ref = Ref.of(await api.create(child(namespace, "ours", labels)))
        await seen.wait(two)
        assert seen.context is not None
        found = seen.context.store.children(created["metadata"]["uid"])
        assert [each["metadata"]["name"] for each in found] == ["ours"]
        assert [each["metadata"]["name"] for each in seen.context.store.list("Job", namespace)] == [
            "ours"
        ]
        seen.forget()
        await api.delete(job_ref)
        await seen.wait(two)
        await api.delete(Ref.of(created))
        await seen.gone(two)
        await seen.wait(one)


async def test_nothing_is_written_to_watched_objects(
    kube: Kubectl, api: HttpKubeApi, namespace: str
) -> None:
    """Watching alone leaves objects as they are: no annotation, no finalizer, no event."""
    async with operator(str(kube.kubeconfig), namespace) as seen:
        created = await api.create(named(namespace, "one"))
        await seen.wait(Key("Experiment", namespace, "one"))
        patch = [{"op": "replace", "path": "/spec/cancel", "value": True}]
        patched = await api.json_patch(Ref.of(created), patch)
        await seen.wait(Key("Experiment", namespace, "one"))
    assert await api.get(Ref.of(created)) == patched
    assert await api.list("v1", "Event", namespace=namespace) == []


async def test_a_restart_finds_everything_again(
    kube: Kubectl, api: HttpKubeApi, namespace: str
) -> None:
    """What was there, what came and what went during the downtime is known after a start."""
    for name in ("stays", "goes"):
        await api.create(named(namespace, name))
    stays, comes = (Key("Experiment", namespace, name) for name in ("stays", "comes"))
    async with operator(str(kube.kubeconfig), namespace) as seen:
        await seen.wait(stays, Key("Experiment", namespace, "goes"))
    await api.delete(Ref(API_VERSION, "Experiment", "goes", namespace))
    await api.create(named(namespace, "comes"))
    async with operator(str(kube.kubeconfig), namespace) as seen:
        await seen.wait(stays, comes)
        assert seen.stored("Experiment", "goes", namespace) is None


async def test_an_outage_of_the_api_server_is_survived(
    cluster: Any, kube: Kubectl, api: HttpKubeApi, namespace: str
) -> None:
    """After a SIGKILL of the API server the watches come back by themselves, and liveness holds."""
    before, after = (Key("Experiment", namespace, name) for name in ("before", "after"))
    async with operator(str(kube.kubeconfig), namespace) as seen:
        await api.create(named(namespace, "before"))
        await seen.wait(before)
        await asyncio.to_thread(cluster.stop, "kube-apiserver", hard=True)
        await asyncio.to_thread(revive, cluster)
        await api.create(named(namespace, "after"))
        await seen.wait(after)
        await api.delete(Ref(API_VERSION, "Experiment", "before", namespace))
        await seen.gone(before)


async def test_a_watch_that_dies_without_a_sign_is_opened_anew(
    kube: Kubectl,
    api: HttpKubeApi,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """T7: connections that stay open and bring nothing are given up, and nothing is missed."""
    monkeypatch.setattr(watcher, "SILENT_SECONDS", 5.0)
    before, after = (Key("Experiment", namespace, name) for name in ("before", "after"))
    detour = tmp_path / "kubeconfig"
    async with swallowing(kube, detour) as line, operator(str(detour), namespace) as seen:
        await api.create(named(namespace, "before"))
        await seen.wait(before)
        line.swallow()
        await api.create(named(namespace, "after"))
        await api.delete(Ref(API_VERSION, "Experiment", "before", namespace))
        await seen.wait(after)
        await seen.gone(before)


async def test_a_deletion_during_an_outage_is_noticed(
    cluster: Any, kube: Kubectl, api: HttpKubeApi, namespace: str
) -> None:
    """An object that vanishes while the watches are cut off leaves the cache with the next list.

    No watch event ever tells of it when the watch has to begin anew.
    """
    gone = Key("Experiment", namespace, "gone")
    async with operator(str(kube.kubeconfig), namespace) as seen:
        created = await api.create(named(namespace, "gone"))
        await seen.wait(gone)
        assert seen.context is not None
        # As if it had been deleted behind the operator's back: known here, unknown to the server.
        ghost = {**created, "metadata": {**created["metadata"], "name": "ghost"}}
        seen.context.store.put(ghost)
        await asyncio.to_thread(cluster.hard_stop)
        await asyncio.to_thread(revive, cluster)
        await seen.gone(Key("Experiment", namespace, "ghost"))
        assert seen.stored("Experiment", "gone", namespace) is not None


def trainjob_crd() -> Object:
    """The least CRD by the name of Kubeflow's TrainJob."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    names = {"kind": "TrainJob", "plural": "trainjobs", "singular": "trainjob"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": TRAINJOB_CRD},
        "spec": {
            "group": "trainer.kubeflow.org",
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
        },
    }


@pytest.mark.parametrize("elected", [False, True])
async def test_trainer_may_come_and_go(
    kube: Kubectl, api: HttpKubeApi, namespace: str, elected: bool
) -> None:
    """A TrainJob CRD that is installed later is watched without a restart, and may go again.

    The watches that begin anew leave the workers alone, also those that began after the watches.
    """
    two = Key("ExecutionUnit", namespace, "two")
    lease = Ref(LEASE_API, LEASE_KIND, "runyard-operator", namespace) if elected else None
    async with operator(str(kube.kubeconfig), lease=lease) as seen:
        await api.create(named(namespace, "one"))
        await seen.wait(Key("Experiment", namespace, "one"))
        try:
            for turn in ("first", "second"):
                await asyncio.to_thread(kube.apply, trainjob_crd())
                await asyncio.to_thread(
                    kube.run, "wait", "--for=condition=Established", f"crd/{TRAINJOB_CRD}"
                )
                metadata = {
                    "name": turn,
                    "labels": {LABEL_UNIT: "two", LABEL_UNIT_UID: "x"},
                }
                manifest = {"apiVersion": TRAINER, "kind": "TrainJob", "metadata": metadata}
                await asyncio.to_thread(kube.apply, manifest)
                await seen.wait(two)
                await asyncio.to_thread(kube.run, "delete", "crd", TRAINJOB_CRD)
                await seen.wait(two)
                while seen.context is None or seen.context.store.count("TrainJob"):
                    await seen.wait(two)
        finally:
            kube.run("delete", "crd", TRAINJOB_CRD, "--ignore-not-found")
        await api.create(named(namespace, "later"))
        await seen.wait(Key("Experiment", namespace, "later"))


async def test_a_thousand_objects_are_read_at_once(
    kube: Kubectl, api: HttpKubeApi, namespace: str
) -> None:
    """All of many units reach the worker after a start, and with few requests."""
    names = [f"u{number}" for number in range(1000)]
    for at in range(0, len(names), 50):
        batch = names[at : at + 50]
        await asyncio.gather(*(api.create(unit(namespace, name)) for name in batch))
    keys = [Key("ExecutionUnit", namespace, name) for name in names]
    async with operator(str(kube.kubeconfig), namespace) as seen:
        await seen.wait(*keys)
        assert seen.context is not None
        assert seen.context.store.count("ExecutionUnit") == 1000
        calls = seen.context.metrics.registry.get_sample_value(
            "runyard_api_request_seconds_count", {"verb": "list", "status": "200"}
        )
        assert calls is not None
        assert calls < 40


async def test_a_taken_port_is_an_error_that_names_it(kube: Kubectl) -> None:
    """When another process holds the port, the operator does not start, and says why."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    api = HttpKubeApi(await load_configuration(str(kube.kubeconfig)))
    running = Operator(Config(image="x", http_port=port), api, Seen().build, Metrics())
    with pytest.raises(OSError, match=str(port)):
        await running.run()
    await api.close()
    server.close()
    await server.wait_closed()
