"""The time for which an awaitable keeps the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from runyard_operator.held import Held


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_only_work_counts_not_waiting() -> None:
    """What others do while the awaitable waits is not its own."""
    clock = Clock()
    held = Held(clock)
    go = asyncio.Event()

    async def work() -> str:
        clock.now += 1.0
        await go.wait()
        clock.now += 2.0
        return "done"

    async def others() -> None:
        clock.now += 50.0
        go.set()

    result, _ = await asyncio.gather(held.run(work()), others())
    assert result == "done"
    assert held.seconds == 3.0


async def test_errors_and_cancellations_arrive_inside() -> None:
    """The awaitable can clean up after a cancellation, and its own errors come out."""
    clean: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            clean.append("up")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no luck")

    task = asyncio.ensure_future(_awaited(forever()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clean == ["up"]
    with pytest.raises(ValueError, match="no luck"):
        await Held(Clock()).run(fail())


async def _awaited(awaitable: Coroutine[Any, Any, None]) -> None:
    await Held(Clock()).run(awaitable)
