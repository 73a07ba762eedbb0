"""Checks of what is told about a job, and of whose job it is."""

from __future__ import annotations

from runyard.api.unit import Handle
from runyard_operator.backends.base import ForeignObject
from runyard_operator.conformance.expect import ENDS, HERE, ambiguous, becomes, expect, gone, same
from runyard_operator.conformance.harness import Harness
from runyard_operator.engine.observation import State


async def life_is_told(harness: Harness) -> None:
    """Waiting, running and success are told, by one handle all along, also after a restart."""
    target = await harness.target()
    handle, _ = await harness.backend.submit(target)
    await harness.settle()
    seen = await harness.backend.observe(target, handle)
    same(seen.state, State.WAITING, "a job that has not begun")
    await harness.run(target)
    seen = await becomes(harness, target, handle, State.RUNNING)
    same(seen.handle, handle, "the handle of the running job")
    await harness.end(target, success=True)
    for _ in range(2):
        seen = await becomes(harness, target, handle, State.SUCCEEDED, State.FAILED)
        same((seen.state, seen.handle), (State.SUCCEEDED, handle), "the end")
        await harness.restart()
    same((await harness.backend.submit(target))[0], handle, "a submit of what has ended")
    same(await harness.begun(target), 1, "jobs made")


async def failure_is_told(harness: Harness) -> None:
    """A job that fails is FAILED, with the class of its failure."""
    target = await harness.target()
    handle, _ = await harness.backend.submit(target)
    await harness.settle()
    await harness.run(target)
    await becomes(harness, target, handle, State.RUNNING)
    await harness.end(target, success=False)
    seen = await becomes(harness, target, handle, State.SUCCEEDED, State.FAILED)
    same(seen.state, State.FAILED, "the end")
    expect(seen.failure_class is not None, "a failure has a class")


async def unknown_is_absent(harness: Harness) -> None:
    """What was never submitted is ABSENT, no error; to cancel it is no error either."""
    target = await harness.target()
    strange = Handle(kind="Job", name="never-made", uid="00000000-0000-0000-0000-000000000000")
    for handle in (None, strange):
        seen = await harness.backend.observe(target, handle)
        same(seen.state, State.ABSENT, f"what is unknown, asked by {handle}")
        await harness.backend.cancel(target, handle)
    same(await harness.begun(target), 0, "jobs made")


async def purged_after_end(harness: Harness) -> None:
    """A place that has forgotten the ended job says ABSENT: no error, no success."""
    target = await harness.target()
    handle, _ = await harness.backend.submit(target)
    await harness.settle()
    await harness.run(target)
    await harness.end(target, success=True)
    await becomes(harness, target, handle, State.SUCCEEDED)
    await harness.purge(target)
    await harness.settle()
    for known in (handle, None):
        await becomes(harness, target, known, State.ABSENT)
        await harness.backend.cancel(target, known)


async def never_seen_state(harness: Harness) -> None:
    """A word that no backend has ever seen is no end: not success, not failure, not absence."""
    target = await harness.target()
    handle, _ = await harness.backend.submit(target)
    await harness.settle()
    await harness.run(target)
    await becomes(harness, target, handle, State.RUNNING)
    await harness.confuse(target)
    seen = await harness.backend.observe(target, handle)
    expect(seen.state not in ENDS, f"a state that nobody knows was read as {seen.state}")


async def unreachable_is_unknown(harness: Harness) -> None:
    """Silence is UNKNOWN at a look and Unreachable at all else; afterwards nothing has changed."""
    target = await harness.target()
    handle, _ = await harness.backend.submit(target)
    await harness.settle()
    await harness.cut()
    for known in (handle, None):
        seen = await harness.backend.observe(target, known)
        same(seen.state, State.UNKNOWN, "a job behind a line that is cut")
        await ambiguous(harness.backend.cancel(target, known), "cancel")
    await ambiguous(harness.backend.submit(target), "submit")
    await harness.mend()
    seen = await becomes(harness, target, handle, *HERE)
    same(seen.handle, handle, "the handle afterwards")
    same(await harness.begun(target), 1, "jobs made")


async def foreign_job_is_left_alone(harness: Harness) -> None:
    """T10: a job of the same name that is not ours is not adopted, changed or ended."""
    target = await harness.target()
    before = await harness.take_name(target)
    seen = await harness.backend.observe(target, None)
    same(seen.state, State.ABSENT, "our job, while another has its name")
    await harness.backend.cancel(target, None)
    same(await harness.foreign(target), before, "the foreign job after a cancel")
    try:
        await harness.backend.submit(target)
    except ForeignObject:
        same(await harness.begun(target), 0, "jobs made beside a refusal")
    else:
        same(await harness.begun(target), 1, "jobs made, though another was adopted")
    await harness.backend.cancel(target, None)
    await harness.pause()
    same(await harness.foreign(target), before, "the foreign job in the end")


async def attempts_are_apart(harness: Harness) -> None:
    """The next attempt neither sees nor touches the job of the one before."""
    one, two = await harness.target(1), await harness.target(2)
    first, _ = await harness.backend.submit(one)
    await harness.settle()
    seen = await harness.backend.observe(two, None)
    same(seen.state, State.ABSENT, "the second attempt before its submit")
    second, _ = await harness.backend.submit(two)
    expect(first != second, "two attempts have one handle")
    await harness.settle()
    await harness.backend.cancel(two, second)
    await gone(harness, two, second)
    seen = await harness.backend.observe(one, first)
    expect(seen.state in HERE, f"the first attempt's job is {seen.state}")
