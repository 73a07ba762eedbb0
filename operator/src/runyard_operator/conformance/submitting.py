"""Checks of plans and submits: one attempt, one job, whatever gets lost."""

from __future__ import annotations

from runyard_operator.conformance.expect import HERE, ambiguous, contains, expect, same
from runyard_operator.conformance.harness import Harness
from runyard_operator.engine.observation import State


async def plan_is_pure(harness: Harness) -> None:
    """The same attempt has the same plan, also after a restart, and planning makes nothing."""
    target = await harness.target()
    first = await harness.backend.plan(target)
    same(await harness.backend.plan(target), first, "the second plan")
    await harness.restart()
    same(await harness.backend.plan(target), first, "the plan after a restart")
    same(await harness.begun(target), 0, "jobs made by planning")


async def plan_is_what_is_sent(harness: Harness) -> None:
    """What a submit sends is what the plan says, and bears its digest."""
    target = await harness.target()
    plan = await harness.backend.plan(target)
    _, digest = await harness.backend.submit(target)
    same(digest, plan.digest, "the digest that submit returns")
    received = await harness.received(target, plan)
    same(len(received), len(plan.objects), "the number of objects")
    for planned, found in zip(plan.objects, received, strict=True):
        contains(found, planned, "object")


async def submit_twice(harness: Harness) -> None:
    """A second submit of the same attempt adopts the first one's job."""
    target = await harness.target()
    first = await harness.backend.submit(target)
    await harness.settle()
    same(await harness.backend.submit(target), first, "what the second submit returns")
    same(await harness.begun(target), 1, "jobs made by two submits")


async def submit_after_lost_answer(harness: Harness) -> None:
    """The outcome is not known: a look finds the job, and so does the next submit."""
    target = await harness.target()
    await harness.lose_answer()
    await ambiguous(harness.backend.submit(target), "submit")
    await harness.settle()
    seen = await harness.backend.observe(target, None)
    expect(seen.state in HERE, f"a job whose answer was lost is {seen.state}")
    expect(seen.handle is not None, "a look without a handle brings the handle of what it finds")
    handle, _ = await harness.backend.submit(target)
    same(handle, seen.handle, "the handle of the next submit")
    same(await harness.begun(target), 1, "jobs made")


async def submit_after_lost_request(harness: Harness) -> None:
    """Nothing has arrived: a look says so, and the next submit makes the job."""
    target = await harness.target()
    await harness.lose_request()
    await ambiguous(harness.backend.submit(target), "submit")
    await harness.settle()
    seen = await harness.backend.observe(target, None)
    same(seen.state, State.ABSENT, "a job that never arrived")
    await harness.backend.submit(target)
    same(await harness.begun(target), 1, "jobs made")


async def submit_after_late_arrival(harness: Harness) -> None:
    """A submit that was given up and arrives later is the only one."""
    target = await harness.target()
    await harness.delay_request()
    await ambiguous(harness.backend.submit(target), "submit")
    await harness.settle()
    handle, _ = await harness.backend.submit(target)
    await harness.settle()
    seen = await harness.backend.observe(target, None)
    same(seen.handle, handle, "the handle of what is found")
    same(await harness.begun(target), 1, "jobs made")


async def found_after_restart(harness: Harness) -> None:
    """A new operator finds the job with its handle and without, and does not make another."""
    target = await harness.target()
    submitted = await harness.backend.submit(target)
    await harness.restart()
    await harness.settle()
    for known in (None, submitted[0]):
        seen = await harness.backend.observe(target, known)
        expect(seen.state in HERE, f"after a restart the job is {seen.state}")
        same(seen.handle, submitted[0], "the handle that is found")
    same(await harness.backend.submit(target), submitted, "what a submit returns")
    same(await harness.begun(target), 1, "jobs made")
