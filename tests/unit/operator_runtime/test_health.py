"""The verdict of the probes."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

import aiohttp
import pytest

from runyard.api.constants import API_VERSION
from runyard_operator import health
from runyard_operator.handlers import watcher
from runyard_operator.health import Health, Signs, complaints
from runyard_operator.kube.resources import Ref
from runyard_operator.metrics import Metrics
from runyard_operator.queue import Key, Queue
from runyard_operator.store import Store
from tests.unit.operator_runtime.scripted import ScriptedKube, obj

WELL = Signs(
    since_beat=1.0,
    longest_run=3.0,
    workers=True,
    watches={"/apis/runyard.dev/v1alpha1/experiments": 70.0},
    reachable=True,
)


@pytest.mark.parametrize(
    ("signs", "words"),
    [
        (WELL, None),
        (replace(WELL, since_beat=31.0), "event loop has been stuck for 31 s"),
        (replace(WELL, workers=False), "a worker of the queue has ended"),
        (replace(WELL, since_lease=31.0), "the lease has not been looked at for 31 s"),
        (replace(WELL, longest_run=1000.0), "a reconcile has been running for 1000 s"),
        (replace(WELL, watches={"/api/v1/pods": 151.0}), "/api/v1/pods has been silent for 151 s"),
        (replace(WELL, watches={"/api/v1/pods": 151.0}, reachable=False), None),
        (replace(WELL, watches={"/api/v1/pods": 901.0}, reachable=False), "silent for 901 s"),
    ],
)
def test_what_counts_as_dead(signs: Signs, words: str | None) -> None:
    """T7: a silent watch is dead only while the API server answers others, or after very long."""
    found = complaints(signs)
    assert (words is None and not found) or (words is not None and words in found[0])


def test_a_silent_watch_is_opened_anew_before_the_process_is_given_up() -> None:
    """T7: the cure comes first, and may fail once; it waits for more than a bookmark's minute."""
    assert 60.0 < watcher.SILENT_SECONDS <= health.SILENT_SECONDS / 2


async def test_the_server_speaks_for_the_parts() -> None:
    """The three pages follow the state of the workers, the cache and the counters."""
    ready, metrics, store = False, Metrics(), Store()
    queue = Queue(clock=time.monotonic, rng=random.Random(7), done=metrics.reconciled)
    metrics.watch(queue, store)
    store.put(obj("ExecutionUnit", "a", 1, status={"phase": "Running"}))
    store.put(obj("ExecutionUnit", "b", 2))
    served = Health(
        kube=ScriptedKube(),
        probe=Ref(API_VERSION, "ExecutionProfile", "livez", "runyard-system"),
        queue=queue,
        metrics=metrics,
        watches=dict,
        ready=lambda: ready,
        clock=time.monotonic,
    )
    host, port = await served.start("127.0.0.1", 0)

    async def page(path: str) -> tuple[int, str]:
        async with http.get(f"http://{host}:{port}/{path}") as answer:
            return answer.status, await answer.text()

    async def worker(key: Key) -> float | None:
        return None

    async with aiohttp.ClientSession() as http:
        assert await page("livez") == (200, "ok\n")
        assert (await page("readyz"))[0] == 503
        ready = True
        assert await page("readyz") == (200, "ok\n")
        status, text = await page("livez")
        assert status == 503
        assert "a worker of the queue has ended" in text
        queue.start(worker, 1)
        assert await page("livez") == (200, "ok\n")
        metrics.submission("job", "Submitted")
        metrics.transition("ExecutionUnit", "Running", "Running")
        _, text = await page("metrics")
        assert 'runyard_units{phase="Running"} 1.0' in text
        assert 'runyard_units{phase="New"} 1.0' in text
        assert 'runyard_submissions_total{backend="job",result="Submitted"} 1.0' in text
        assert "runyard_queue_keys 0.0" in text
    await asyncio.gather(queue.stop(30), served.close())
