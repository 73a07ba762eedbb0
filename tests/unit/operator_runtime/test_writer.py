"""What a write of a unit's status tells, and whom."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import Any, cast

from runyard.api.unit import UnitPhase, UnitStatus
from runyard_operator.config import parse
from runyard_operator.context import Context
from runyard_operator.kube.api import KubeApi, Object
from runyard_operator.metrics import Metrics
from runyard_operator.queue import Key, Queue
from runyard_operator.reconcile.writer import Writer
from runyard_operator.store import Store
from tests.unit.operator_runtime.scripted import obj

IN_SFT = {"runyard.dev/experiment": "sft"}
EXPERIMENT = Key("Experiment", "team", "sft")


class Noted(Queue):
    """A queue that only keeps what was added."""

    def __init__(self) -> None:
        super().__init__(clock=time.monotonic, rng=random.Random(1))
        self.added: list[Key] = []

    def add(self, key: Key) -> None:
        self.added.append(key)


class Applies:
    """An API server that stores each status as it comes."""

    async def apply(self, manifest: Object, **_: Any) -> Object:
        metadata = manifest["metadata"]
        version = int(metadata["resourceVersion"]) + 1
        return obj(
            "ExecutionUnit",
            metadata["name"],
            version,
            labels=IN_SFT,
            spec={"task": "prep"},
            status=manifest["status"],
        )


async def written(old: UnitPhase, new: UnitPhase, message: str) -> tuple[list[Key], list[str]]:
    """The keys that a change of status adds, and the Events that it posts."""
    events: list[str] = []

    async def emit(_: Object, *, type_: str, reason: str, message: str) -> bool:
        events.append(f"{type_} {reason}")
        return True

    queue = Noted()
    context = Context(
        kube=cast("KubeApi", Applies()),
        store=Store(),
        queue=queue,
        metrics=Metrics(),
        config=parse(["--image", "x"], {}),
        now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        emit=cast("Any", emit),
    )
    before = UnitStatus(phase=old)
    unit = obj(
        "ExecutionUnit",
        "sft-prep",
        1,
        labels=IN_SFT,
        spec={"task": "prep"},
        status=before.to_dict(),
    )
    after = before.model_copy(update={"phase": new, "message": message})
    await Writer(context, unit).publish(before, after, acts=False)
    echo = obj("ExecutionUnit", "sft-prep", 2, labels=IN_SFT, status=after.to_dict())
    assert not context.store.hear(echo), "who writes has told"
    return queue.added, events


async def test_a_new_phase_is_told_to_the_experiment_at_once() -> None:
    """It does not wait for the watch; and where all goes well there is no Event."""
    told, events = await written(UnitPhase.SUBMITTING, UnitPhase.RUNNING, "")
    assert (told, events) == ([EXPERIMENT], [])


async def test_a_bad_end_is_an_event() -> None:
    """People look at Warnings."""
    told, events = await written(UnitPhase.RUNNING, UnitPhase.FAILED, "exit code 1")
    assert (told, events) == ([EXPERIMENT], ["Warning Failed"])
