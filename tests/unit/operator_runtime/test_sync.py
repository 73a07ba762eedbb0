"""Full lists: the cache is complete before any work starts, and is corrected later."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from runyard.api.constants import API_VERSION
from runyard_operator.config import Config
from runyard_operator.handlers.sync import Sync
from runyard_operator.kube.errors import Forbidden, NotFound
from runyard_operator.kube.resources import Ref
from runyard_operator.queue import Key, Queue
from runyard_operator.store import Store
from tests.unit.operator_runtime.scripted import ScriptedKube, obj

UNIT = "ExecutionUnit"
NOT_SERVED = NotFound("404 page not found", status=404)


class Parts:
    """A sync with everything around it."""

    def __init__(self, kube: ScriptedKube, *namespaces: str) -> None:
        self.store = Store()
        self.queue = Queue(clock=time.monotonic, rng=random.Random(7))
        self.sync = Sync(
            kube=kube,
            store=self.store,
            queue=self.queue,
            config=Config(image="x", namespaces=namespaces),
        )


async def test_priming_fills_the_store_and_the_queue() -> None:
    """Every object of the served namespaces is known and queued once the lists are read."""
    units = [obj(UNIT, "a", 1), obj(UNIT, "b", 2), obj(UNIT, "c", 3, namespace="other")]
    parts = Parts(ScriptedKube({UNIT: units}), "team")
    assert not parts.sync.primed
    await parts.sync.prime()
    assert parts.sync.primed
    assert [each["metadata"]["name"] for each in parts.store.list(UNIT)] == ["a", "b"]
    assert parts.queue.depth == 2


async def test_a_new_leader_looks_at_everything() -> None:
    """What a standby forgot meanwhile is asked for: every experiment and unit that there is."""
    kube = ScriptedKube({UNIT: [obj(UNIT, "a", 1)], "Experiment": [obj("Experiment", "b", 2)]})
    parts = Parts(kube)
    await parts.sync.prime()
    parts.queue.forget()
    assert parts.queue.depth == 0
    parts.sync.tell_all()
    assert parts.queue.depth == 2


async def test_a_missing_trainer_is_no_obstacle() -> None:
    """The operator starts without Kubeflow Trainer, and finds it when it comes."""
    kube = ScriptedKube({"TrainJob": NOT_SERVED})
    parts = Parts(kube)
    await parts.sync.prime()
    assert "TrainJob" not in {each.kind for each in parts.sync.served}
    del kube.lists["TrainJob"]
    assert "TrainJob" in {each.kind for each in await parts.sync.look()}


async def test_a_kind_outside_the_role_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """Without the right to list TrainJobs the operator starts, says so once, and forgets none."""
    kube = ScriptedKube({"TrainJob": Forbidden("not allowed", status=403)})
    parts = Parts(kube)
    known = obj("TrainJob", "t", 1)
    parts.store.put(known)
    await parts.sync.prime()
    await parts.sync.look()
    assert "TrainJob" not in {each.kind for each in parts.sync.served}
    assert caplog.text.count("TrainJob is not watched: not allowed") == 1
    assert parts.store.list("TrainJob") == [known]


async def test_shared_profiles_are_read_from_home() -> None:
    """An operator for some namespaces still knows the profiles of its own namespace."""
    profiles = [obj("ExecutionProfile", "h100", 1, namespace="runyard-system")]
    parts = Parts(ScriptedKube({"ExecutionProfile": profiles}), "team")
    await parts.sync.prime()
    assert parts.store.list("ExecutionProfile") == profiles


async def test_objects_go_with_their_kind() -> None:
    """When a kind is not served any longer, its objects leave the store and wake their units."""
    labels = {"runyard.dev/unit": "prep", "runyard.dev/unit-uid": "x"}
    kube = ScriptedKube({"TrainJob": [obj("TrainJob", "t", 1, labels=labels)]})
    parts = Parts(kube)
    await parts.sync.prime()
    assert parts.store.count("TrainJob") == 1
    kube.lists["TrainJob"] = NOT_SERVED
    await parts.sync.look()
    assert parts.store.count("TrainJob") == 0
    assert parts.queue.depth == 1


async def test_a_relist_finds_deletions_that_nobody_told() -> None:
    """When kopf lists a kind anew, what has vanished meanwhile leaves the store and is queued."""
    kube = ScriptedKube({UNIT: [obj(UNIT, "a", 1)]})
    parts = Parts(kube)
    await parts.sync.prime()
    runs: asyncio.Queue[Key] = asyncio.Queue()

    async def worker(key: Key) -> float | None:
        runs.put_nowait(key)
        return None

    parts.queue.start(worker, 1)
    assert (await asyncio.wait_for(runs.get(), 30)).name == "a"
    task = asyncio.create_task(parts.sync.run())
    kube.lists[UNIT] = []
    parts.sync.ask("executionunits")
    assert (await asyncio.wait_for(runs.get(), 30)).name == "a"
    assert parts.store.get(Ref(API_VERSION, UNIT, "a", "team")) is None
    task.cancel()
    await parts.queue.stop(30)


async def test_our_own_kinds_must_be_there(caplog: pytest.LogCaptureFixture) -> None:
    """Without its own CRDs the operator waits and says what to install."""
    parts = Parts(ScriptedKube({UNIT: NOT_SERVED}))
    priming = asyncio.create_task(parts.sync.prime())
    while "install the CustomResourceDefinitions" not in caplog.text:
        await asyncio.wait({priming}, timeout=0.05)
    assert not priming.done()
    priming.cancel()
