"""Events: few, bounded, and without any power to disturb."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from runyard_operator.events import BURST, PER_SECOND, SAME_SECONDS, EventEmitter
from runyard_operator.kube.errors import Forbidden, Unavailable
from tests.unit.operator_runtime.scripted import ScriptedKube, obj

UNIT = obj("ExecutionUnit", "prep", 7)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def emitter(kube: ScriptedKube, clock: Clock) -> EventEmitter:
    def now() -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    return EventEmitter(kube, now=now, clock=clock, instance="operator-0")


async def posted(emit: EventEmitter) -> None:
    """Runs the emitter until nothing is queued."""
    task = asyncio.create_task(emit.run())
    await emit.drain(30)
    task.cancel()


async def test_an_event_names_its_object() -> None:
    """The event refers to the object by kind, name and uid, and its message is cut."""
    kube, clock = ScriptedKube(), Clock()
    emit = emitter(kube, clock)
    assert await emit(UNIT, type_="Warning", reason="Failed", message="x" * 5000)
    await posted(emit)
    (event,) = kube.created
    assert event["involvedObject"]["uid"] == "uid-prep"
    assert event["metadata"] == {"generateName": "prep-", "namespace": "team"}
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-01-02T03:04:05Z"
    assert len(event["message"]) == 1024


async def test_the_same_event_once_a_minute() -> None:
    """Repetitions are dropped until a minute has passed; other events are not affected."""
    kube, clock = ScriptedKube(), Clock()
    emit = emitter(kube, clock)
    assert await emit(UNIT, type_="Normal", reason="Running", message="")
    clock.now += SAME_SECONDS / 2
    assert not await emit(UNIT, type_="Normal", reason="Running", message="")
    assert await emit(UNIT, type_="Normal", reason="Succeeded", message="")
    clock.now += SAME_SECONDS
    assert await emit(UNIT, type_="Normal", reason="Running", message="")


async def test_a_flood_is_cut_off() -> None:
    """No more than the burst is taken at once, and the rate afterwards."""
    kube, clock = ScriptedKube(), Clock()
    emit = emitter(kube, clock)
    taken = 0
    for number in range(3 * BURST):
        taken += await emit(UNIT, type_="Normal", reason="Running", message=str(number))
    assert taken == BURST
    await posted(emit)
    clock.now += 1.0
    taken = 0
    for number in range(3 * BURST):
        taken += await emit(UNIT, type_="Normal", reason="Waiting", message=str(number))
    assert taken == PER_SECOND


async def test_a_refused_event_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    """When the API server refuses an event, the next one is posted all the same."""
    kube, clock = ScriptedKube(), Clock()
    kube.refuse = [Forbidden("being deleted", status=403), Unavailable("away")]
    emit = emitter(kube, clock)
    caplog.set_level("INFO")
    for message in ("one", "two", "three"):
        await emit(UNIT, type_="Normal", reason="Running", message=message)
    await posted(emit)
    assert [each["message"] for each in kube.created] == ["three"]
    assert "being deleted" in caplog.text
