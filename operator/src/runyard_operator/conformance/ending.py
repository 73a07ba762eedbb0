"""Checks of cancel, suspend and resume."""

from __future__ import annotations

import asyncio

from runyard_operator.backends.base import BackendError
from runyard_operator.conformance.expect import HERE, ambiguous, becomes, expect, gone, same
from runyard_operator.conformance.harness import Harness
from runyard_operator.engine.observation import State


async def cancel_twice(harness: Harness) -> None:
    """A cancel ends the job and may be repeated, at once and when the job has gone."""
    target = await harness.target()
    handle, _ = await harness.backend.submit(target)
    await harness.settle()
    await harness.backend.cancel(target, handle)
    await harness.backend.cancel(target, handle)
    await gone(harness, target, handle)
    await harness.backend.cancel(target, handle)
    same(await harness.begun(target), 1, "jobs made")


async def cancel_after_lost_answer(harness: Harness) -> None:
    """A job whose handle nobody has learnt is found by its key and ended."""
    target = await harness.target()
    await harness.lose_answer()
    await ambiguous(harness.backend.submit(target), "submit")
    await harness.settle()
    same(await harness.alive(target), 1, "jobs alive before the cancel")
    await harness.backend.cancel(target, None)
    await gone(harness, target, None)


async def cancel_with_lost_answer(harness: Harness) -> None:
    """A cancel without an answer is not known to have worked; the next one is safe."""
    target = await harness.target()
    handle, _ = await harness.backend.submit(target)
    await harness.settle()
    await harness.lose_answer()
    await ambiguous(harness.backend.cancel(target, handle), "cancel")
    await harness.backend.cancel(target, handle)
    await gone(harness, target, handle)


async def cancel_during_submit(harness: Harness) -> None:
    """Both at once: however they meet, a further cancel leaves nothing alive."""
    target = await harness.target()
    outcomes = await asyncio.gather(
        harness.backend.submit(target),
        harness.backend.cancel(target, None),
        return_exceptions=True,
    )
    for each in outcomes:
        if isinstance(each, BaseException) and not isinstance(each, BackendError):
            raise each
    await harness.settle()
    await harness.backend.cancel(target, None)
    await gone(harness, target, None)
    expect(await harness.begun(target) <= 1, "more than one job was made")


async def suspend_and_resume(harness: Harness) -> None:
    """A suspended job is kept and says so; resumed, it goes on as the same job."""
    target = await harness.target()
    handle, _ = await harness.backend.submit(target)
    await harness.settle()
    await harness.run(target)
    await becomes(harness, target, handle, State.RUNNING)
    await harness.backend.suspend(target, handle)
    await harness.backend.suspend(target, handle)
    seen = await becomes(harness, target, handle, State.SUSPENDED)
    same(seen.handle, handle, "the handle of the suspended job")
    await harness.backend.resume(target, None)
    await harness.backend.resume(target, handle)
    await becomes(harness, target, handle, *HERE)
    same(await harness.begun(target), 1, "jobs made")


async def cancel_while_suspended(harness: Harness) -> None:
    """A suspended job can be ended."""
    target = await harness.target()
    handle, _ = await harness.backend.submit(target)
    await harness.settle()
    await harness.backend.suspend(target, None)
    await becomes(harness, target, handle, State.SUSPENDED)
    await harness.backend.cancel(target, handle)
    await gone(harness, target, handle)


async def suspend_of_unknown(harness: Harness) -> None:
    """Where there is no job, neither suspend nor resume is an error, and neither makes one."""
    target = await harness.target()
    await harness.backend.suspend(target, None)
    await harness.backend.resume(target, None)
    same(await harness.begun(target), 0, "jobs made")
