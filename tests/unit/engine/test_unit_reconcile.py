"""The unit's reconciler: what it asks of a backend, what it writes, and in which order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from runyard.api import Handle
from runyard.api.constants import API_VERSION, FINALIZER
from runyard_operator.backends.base import BackendError, Plan, Target, Unreachable
from runyard_operator.config import Config
from runyard_operator.context import Context
from runyard_operator.engine.observation import Observation, State
from runyard_operator.metrics import Metrics
from runyard_operator.queue import Key
from runyard_operator.reconcile.unit import UnitReconciler
from runyard_operator.store import Store
from tests.unit.engine.builders import JOB, NOW, seen, unit_spec
from tests.unit.engine.server import NAMESPACE, Faults, Object, Server

KEY = Key("ExecutionUnit", NAMESPACE, "u")
METRICS = Metrics()
ABSENT = seen(State.ABSENT)


@dataclass
class Scripted:
    """A backend that says what the test wants, by the number of the attempt."""

    kind: str = "job"
    settle_seconds: float = 0.0
    can_suspend: bool = True
    news: dict[int, Observation] = field(default_factory=dict)
    trouble: BackendError | None = None
    calls: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    handles: list[Handle | None] = field(default_factory=list)

    async def plan(self, target: Target) -> Plan:
        raise NotImplementedError

    async def submit(self, target: Target) -> tuple[Handle, str]:
        self._called("submit", target)
        return JOB, "sha256:1"

    async def observe(self, target: Target, handle: Handle | None) -> Observation:
        self.handles.append(handle)
        return self.news.get(target.attempt, ABSENT)

    async def cancel(self, target: Target, handle: Handle | None) -> None:
        self._called("cancel", target)

    async def suspend(self, target: Target, handle: Handle | None) -> None:
        self._called("suspend", target)

    async def resume(self, target: Target, handle: Handle | None) -> None:
        self._called("resume", target)

    def _called(self, call: str, target: Target) -> None:
        self.calls.append(f"{call} {target.attempt}")
        self.targets.append(target)
        if self.trouble is not None:
            raise self.trouble


class World:
    """One unit, its reconciler, the API server and the backend."""

    def __init__(self, **spec: Any) -> None:
        self.server = Server(Faults())
        self.backend = Scripted()
        self.now = NOW
        self.epoch = 0
        self.points: list[str] = []
        self.fenced = 0
        self.server.add(
            {
                "apiVersion": API_VERSION,
                "kind": "ExecutionUnit",
                "metadata": {"name": "u", "finalizers": [FINALIZER]},
                "spec": unit_spec(**spec).to_dict(),
            }
        )
        self.begun = self.server.writes
        self.start()

    def start(self) -> None:
        """A new process, which remembers nothing."""
        self.store = Store()
        context = Context(
            kube=self.server,  # type: ignore[arg-type]
            store=self.store,
            queue=None,  # type: ignore[arg-type]
            metrics=METRICS,
            config=Config(image="operator"),
            now=lambda: self.now,
            emit=_silent,  # type: ignore[arg-type]
            epoch=lambda: self.epoch,
            fence=self._fence,
            point=self.points.append,
        )
        self._reconciler = UnitReconciler(context, {"job": self.backend})

    def _fence(self) -> None:
        self.fenced += 1

    async def run(
        self, state: State | None = None, after: float = 0.0, **news: Any
    ) -> float | None:
        """A pass, that many seconds later, with this news of the latest attempt's job."""
        self.now += timedelta(seconds=after)
        attempts = self.status.get("attempts", [])
        if state is not None:
            self.backend.news[attempts[-1]["number"]] = seen(state, **news)
        self.store.put(self.obj)
        return await self._reconciler.reconcile(KEY)

    def edit(self, **spec: Any) -> None:
        """A user changes the spec."""
        changes = [{"op": "add", "path": f"/spec/{k}", "value": v} for k, v in spec.items()]
        self.server.patch(("ExecutionUnit", "u"), changes)

    @property
    def obj(self) -> Object:
        return self.server.objects["ExecutionUnit", "u"]

    @property
    def status(self) -> Object:
        status: Object = self.obj["status"]
        return status

    @property
    def writes(self) -> int:
        """All writes since the creation."""
        return self.server.writes - self.begun


async def _silent(*_: object, **__: object) -> None:
    """Events are for people."""


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


# Writes


async def test_a_unit_that_succeeds_is_written_four_times() -> None:
    """Intent, running, end, finalizer; the handle shares the write of the first news."""
    world = World()
    await world.run()
    assert (world.writes, world.status["phase"]) == (1, "Submitting")
    await world.run(State.WAITING, after=0.1)
    assert world.writes == 1
    await world.run(State.RUNNING, after=0.1)
    assert (world.writes, world.status["phase"]) == (2, "Running")
    assert world.status["attempts"][0]["handle"] == JOB.to_dict()
    assert world.status["attempts"][0]["planDigest"] == "sha256:1"
    await world.run(State.SUCCEEDED, after=9)
    assert (world.writes, world.status["phase"]) == (4, "Succeeded")
    assert FINALIZER not in world.obj["metadata"]["finalizers"]
    assert world.backend.calls == ["submit 1"]


async def test_a_job_that_was_made_is_written_after_a_moment() -> None:
    """A quiet queue is no reason to forget it."""
    world = World()
    wait = await world.run()
    assert wait is not None
    assert wait <= 0.5
    again = await world.run(State.WAITING, after=0.2)
    assert again is not None
    assert again <= 0.5
    await world.run(after=0.3)
    assert (world.writes, world.status["phase"]) == (2, "Waiting")
    assert world.status["attempts"][0]["handle"] == JOB.to_dict()


async def test_a_clock_that_is_set_back_does_not_hold_the_write() -> None:
    """It would be held until the clock has caught up."""
    world = World()
    await world.run()
    await world.run(State.WAITING, after=-3600)
    assert world.writes == 2


async def test_an_end_is_written_at_once() -> None:
    """Whoever waits for it should not wait longer."""
    world = World()
    await world.run()
    await world.run(State.SUCCEEDED)
    assert world.status["phase"] == "Succeeded"
    assert world.status["attempts"][0]["handle"] == JOB.to_dict()
    assert world.writes == 3


async def test_an_outage_at_the_submit_is_written_once() -> None:
    """Each try has other words; none of them is news."""
    world = World()
    for number in range(5):
        world.backend.trouble = Unreachable("Unreachable", f"timeout number {number}")
        await world.run(after=5)
    assert world.backend.calls == ["submit 1"] * 5
    assert world.writes == 2


# Exactly once


async def test_a_job_that_this_process_has_made_is_never_made_again() -> None:
    """Its absence is its end, although no status says yet that it was there."""
    world = World()
    await world.run()
    assert "handle" not in world.status["attempts"][0]
    await world.run(State.ABSENT)
    assert world.backend.handles == [JOB]
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "JobLost")
    assert world.backend.calls == ["submit 1"]


async def test_the_next_process_looks_for_the_job_and_adopts_it() -> None:
    """What was only in memory is found by the key."""
    world = World()
    await world.run()
    world.start()
    await world.run(State.RUNNING)
    assert world.backend.handles == [None]
    assert world.status["attempts"][0]["handle"] == JOB.to_dict()
    assert world.backend.calls == ["submit 1"]


async def test_the_memory_of_a_job_is_that_of_its_unit_alone() -> None:
    """A unit of the same name is another unit, with jobs of its own."""
    world = World()
    await world.run()
    name = ("ExecutionUnit", "u")
    other = {**world.obj["metadata"], "uid": "other", "resourceVersion": "1000"}
    world.server.objects[name] = {**world.obj, "metadata": other}
    await world.run(State.ABSENT)
    assert world.backend.handles == [None]
    assert world.backend.calls == ["submit 1", "submit 1"]


async def test_nothing_that_is_asked_for_waits_for_a_shared_write() -> None:
    """Only the write waits."""
    world = World()
    await world.run()
    world.edit(suspend=True)
    await world.run(State.WAITING)
    assert world.backend.calls == ["submit 1", "suspend 1"]


async def test_the_settle_time_and_the_epoch_reach_the_engine() -> None:
    """The intent carries the number of the leadership; absence is believed late."""
    world = World()
    world.epoch = 7
    world.backend.settle_seconds = 30
    world.backend.trouble = Unreachable("Unreachable", "timeout")
    await world.run()
    assert world.status["attempts"][0]["epoch"] == 7
    await world.run(after=5)
    await world.run(after=29)
    assert world.backend.calls == ["submit 1"]
    await world.run(after=1)
    assert world.backend.calls == ["submit 1"] * 2


async def test_every_call_that_changes_something_is_fenced() -> None:
    """A leader that has lost its lease makes, ends and suspends nothing."""
    world = World()
    await world.run()
    assert world.fenced == 1
    await world.run(State.RUNNING)
    world.edit(suspend=True)
    await world.run()
    assert world.fenced == 2
    world.edit(cancel=True)
    await world.run()
    assert world.fenced == 3
    assert world.backend.calls == ["submit 1", "suspend 1", "cancel 1"]


# Lost jobs


async def test_a_lost_job_that_is_back_is_ended_before_anything_else() -> None:
    """With the key of its own attempt; the current job's end waits for it."""
    world = World(retry={"limit": 1, "backoff": {"seconds": 0}})
    await world.run()
    await world.run(State.ABSENT)
    await world.run()
    await world.run(State.RUNNING)
    assert [each["number"] for each in world.status["attempts"]] == [1, 2]
    world.backend.news[1] = seen(State.RUNNING)
    await world.run(State.SUCCEEDED)
    assert world.backend.calls == ["submit 1", "submit 2", "cancel 1"]
    assert world.backend.targets[-1].key == world.status["attempts"][0]["key"]
    assert world.status["phase"] == "Running"
    world.backend.news[1] = ABSENT
    await world.run()
    await world.run()
    assert world.status["phase"] == "Succeeded"


async def test_nobody_asks_for_jobs_that_are_not_lost() -> None:
    """One look for each pass."""
    world = World(retry={"limit": 1, "backoff": {"seconds": 0}})
    await world.run()
    await world.run(State.FAILED)
    await world.run()
    world.backend.handles.clear()
    await world.run(State.RUNNING)
    assert len(world.backend.handles) == 1


# What a backend gets


async def test_the_attempt_is_named_in_what_the_backend_gets() -> None:
    """Number and key, in environment and arguments; the spec stays as the user wrote it."""
    world = World(
        env=[{"name": "DIR", "value": "/ckpt/${attempt.number}"}],
        script={"inline": "true", "args": ["--key=${attempt.key}"]},
    )
    await world.run()
    (target,) = world.backend.targets
    assert target.spec.env[0].value == "/ckpt/1"
    assert target.spec.script is not None
    assert target.spec.script.args == [f"--key={world.obj['metadata']['uid']}-1"]
    assert world.obj["spec"]["env"][0]["value"] == "/ckpt/${attempt.number}"


async def test_texts_that_may_outgrow_their_place_are_refused_before_the_first_attempt() -> None:
    """Later on there would be a job that cannot be looked after."""
    world = World(script={"inline": "true", "args": ["x" * 8170 + "${attempt.key}"]})
    await world.run()
    assert (world.status["phase"], world.status["reason"]) == ("Failed", "InvalidReference")
    assert "spec.script.args[0]" in world.status["message"]
    assert world.backend.calls == []


async def test_a_unit_that_adopts_asks_nothing_of_a_backend() -> None:
    """Its work was done before."""
    world = World(adopted={"experiment": "e", "unit": "e-a", "uid": "x"})
    await world.run()
    assert world.status["phase"] == "Succeeded"
    assert (world.backend.calls, world.backend.handles) == ([], [])


async def test_a_suspend_and_a_resume_reach_the_backend() -> None:
    """A call that fails is made again."""
    world = World()
    await world.run()
    await world.run(State.RUNNING)
    world.edit(suspend=True)
    world.backend.trouble = Unreachable("Unreachable", "timeout")
    await world.run()
    world.backend.trouble = None
    await world.run()
    await world.run(State.SUSPENDED)
    assert world.status["reason"] == "Suspended"
    world.edit(suspend=False)
    await world.run()
    assert world.backend.calls == ["submit 1", "suspend 1", "suspend 1", "resume 1"]


# The named moments


@pytest.mark.parametrize(
    ("edit", "name"), [({"cancel": True}, "cancel"), ({"suspend": True}, "suspend")]
)
async def test_each_effect_stands_between_two_named_moments(
    edit: dict[str, Any], name: str
) -> None:
    """After the status that announces it."""
    status = ["unit.status.before", "unit.status.after"]
    world = World()
    await world.run()
    assert world.points == [*status, "unit.submit.before", "unit.submit.after"]
    await world.run(State.RUNNING)
    world.points.clear()
    world.edit(**edit)
    await world.run()
    assert world.points == [*status, f"unit.{name}.before", f"unit.{name}.after"]


async def test_the_end_and_the_finalizer_have_their_moments() -> None:
    """The end is written before the finalizer goes."""
    world = World()
    await world.run()
    world.points.clear()
    await world.run(State.SUCCEEDED)
    status = ["unit.status.before", "unit.status.after"]
    assert world.points == [*status, *status, "unit.finalizer.before", "unit.finalizer.after"]


async def test_a_retry_is_made_when_it_is_due() -> None:
    """The pass says when, and the attempt is written before it is submitted."""
    world = World(retry={"limit": 1, "backoff": {"seconds": 40, "jitterPercent": 0}})
    await world.run()
    assert await world.run(State.FAILED, after=1) == 40
    assert world.status["nextAttemptTime"] == at(41).isoformat().replace("+00:00", "Z")
    assert await world.run(after=30) == 10
    await world.run(after=10)
    assert world.backend.calls == ["submit 1", "submit 2"]
    world.backend.news[2] = replace(seen(State.SUCCEEDED), message="done")
    await world.run(after=1)
    assert world.status["phase"] == "Succeeded"
