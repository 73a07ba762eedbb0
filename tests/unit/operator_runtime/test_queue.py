"""The work queue with real workers on a real event loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import pytest

from runyard_operator.queue import Key, Queue

A, B = Key("Experiment", "team", "a"), Key("Experiment", "team", "b")


def queue(done: Callable[[Key, float, BaseException | None], None] | None = None) -> Queue:
    return Queue(clock=time.monotonic, rng=random.Random(7), done=done)


async def test_the_worker_names_its_next_turn() -> None:
    """A returned number of seconds brings the key back; None does not."""
    runs: list[Key] = []
    twice = asyncio.Event()

    async def worker(key: Key) -> float | None:
        runs.append(key)
        if len(runs) == 2:
            twice.set()
            return None
        return 0.01

    keys = queue()
    keys.start(worker, workers=2)
    keys.add(A)
    await asyncio.wait_for(twice.wait(), 30)
    assert await keys.stop(30)
    assert runs == [A, A]


async def test_keys_are_forgotten_only_before_the_work_begins() -> None:
    """Timers go, too; under the workers' feet nothing is taken away."""
    runs: list[Key] = []
    seen = asyncio.Event()

    async def worker(key: Key) -> float | None:
        runs.append(key)
        seen.set()
        return None

    keys = queue()
    keys.start(worker, workers=1, held=True)
    keys.add(A)
    keys.add_after(A, 0.0)
    await asyncio.sleep(0)
    keys.forget()
    assert keys.alive
    keys.add(B)
    keys.open()
    await asyncio.wait_for(seen.wait(), 30)
    with pytest.raises(RuntimeError):
        keys.forget()
    assert await keys.stop(30)
    assert runs == [B]


async def test_held_workers_can_be_stopped() -> None:
    """A standby that ends has workers that never began; they take nothing on their way out."""
    runs: list[Key] = []

    async def worker(key: Key) -> float | None:
        runs.append(key)
        return None

    keys = queue()
    keys.start(worker, workers=2, held=True)
    keys.add(A)
    assert await keys.stop(30)
    assert runs == []


async def test_a_failure_is_reported_and_repeated(caplog: pytest.LogCaptureFixture) -> None:
    """An exception is logged with its traceback, counted, and the key is tried again."""
    ends: list[BaseException | None] = []
    well = asyncio.Event()

    async def worker(key: Key) -> float | None:
        if not ends:
            raise RuntimeError("no luck")
        well.set()
        return None

    keys = queue(done=lambda key, seconds, error: ends.append(error))
    keys.start(worker, workers=1)
    keys.add(A)
    await asyncio.wait_for(well.wait(), 30)
    await keys.stop(30)
    assert [type(end) for end in ends] == [RuntimeError, type(None)]
    assert "no luck" in caplog.text
    assert keys.failing == 0


async def test_never_two_workers_on_one_key_and_never_too_many() -> None:
    """However often keys are added, runs of one key do not overlap and the bound holds."""
    rng = random.Random(11)
    names = [Key("ExecutionUnit", "team", f"u{number}") for number in range(12)]
    running: list[Key] = []
    seen: dict[Key, int] = dict.fromkeys(names, 0)
    most = 0

    async def worker(key: Key) -> float | None:
        nonlocal most
        assert key not in running
        running.append(key)
        most = max(most, len(running))
        await asyncio.sleep(rng.uniform(0, 0.003))
        running.remove(key)
        seen[key] += 1
        return None

    idle = asyncio.Event()
    keys = queue(done=lambda key, seconds, error: None if keys.depth else idle.set())
    keys.start(worker, workers=4)
    for _ in range(400):
        keys.add(rng.choice(names))
        await asyncio.sleep(0)
    idle.clear()
    keys.add(names[0])
    await asyncio.wait_for(idle.wait(), 30)
    assert await keys.stop(30)
    assert keys.failing == 0
    assert all(seen.values())
    assert 1 < most <= 4


async def test_stop_lets_runs_finish_and_takes_no_more() -> None:
    """What runs may end within the grace; what waits is left alone."""
    begun, go = asyncio.Event(), asyncio.Event()
    finished: list[Key] = []

    async def worker(key: Key) -> float | None:
        begun.set()
        await go.wait()
        finished.append(key)
        return None

    keys = queue()
    keys.start(worker, workers=1)
    keys.add(A)
    keys.add(B)
    await asyncio.wait_for(begun.wait(), 30)
    stopping = asyncio.create_task(keys.stop(30))
    await asyncio.sleep(0)
    go.set()
    assert await stopping
    assert finished == [A]


async def test_stop_cuts_off_after_the_grace() -> None:
    """A run that does not end in time is cancelled."""
    begun = asyncio.Event()

    async def worker(key: Key) -> float | None:
        begun.set()
        await asyncio.Event().wait()
        return None

    keys = queue()
    keys.start(worker, workers=1)
    keys.add(A)
    await asyncio.wait_for(begun.wait(), 30)
    assert not await keys.stop(0.01)


async def test_a_cancelled_part_of_a_run_is_a_failure() -> None:
    """When something that a run awaits is cancelled, the run is repeated and the worker lives."""
    ends: list[BaseException | None] = []
    well = asyncio.Event()

    async def worker(key: Key) -> float | None:
        if not ends:
            part = asyncio.create_task(asyncio.sleep(30))
            part.cancel()
            await part
        well.set()
        return None

    keys = queue(done=lambda key, seconds, error: ends.append(error))
    keys.start(worker, workers=1)
    keys.add(A)
    await asyncio.wait_for(well.wait(), 30)
    assert keys.alive
    await keys.stop(30)
    assert isinstance(ends[0], asyncio.CancelledError)


async def test_the_end_of_a_worker_is_noticed() -> None:
    """A worker task that ends by itself is an error, not a silent loss of capacity."""

    async def worker(key: Key) -> float | None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(30)
        return None

    keys = queue()
    keys.add(A)
    with pytest.raises(RuntimeError, match="a worker of the queue has ended"):
        await asyncio.wait_for(keys.run(worker, workers=2), 30)
    assert not keys.alive
    await keys.stop(1)
