"""The operator with a simulated `job` executor: `python -m tests.support.simulated_operator`.

Jobs live in the memory of the process and write nothing to the API server, so that the operator's
own work can be measured. What follows `--` goes to the operator.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from unittest import mock

from runyard.api.unit import Handle
from runyard_operator import main
from runyard_operator.backends.base import Plan, Target
from runyard_operator.context import Context
from runyard_operator.engine.observation import Observation, State
from runyard_operator.queue import Key, Queue
from runyard_operator.reconcile import dispatch

Worker = Callable[[Key], Awaitable[float | None]]


@dataclass(slots=True)
class _Job:
    key: str
    started: datetime
    ended: datetime | None = None


@dataclass(slots=True)
class SimulatedBackend:
    """Runs each job for a fixed time and tells the queue when it has ended.

    A job that only its handle knows of was submitted by an earlier process: it begins anew.

    Attributes:
        queue: is told of ends.
        seconds: how long each job runs.
    """

    queue: Queue
    seconds: float
    kind: str = "job"
    settle_seconds: float = 0.0
    can_suspend: bool = False
    _jobs: dict[str, _Job] = field(default_factory=dict)

    async def plan(self, target: Target) -> Plan:
        """See `backends.base.Backend`."""
        return Plan(objects=(), digest="sha256:0")

    async def suspend(self, target: Target, handle: Handle | None) -> None:
        """See `backends.base.Backend`."""

    async def resume(self, target: Target, handle: Handle | None) -> None:
        """See `backends.base.Backend`."""

    async def submit(self, target: Target) -> tuple[Handle, str]:
        """See `backends.base.Backend`."""
        self._begin(target)
        return Handle(kind="Simulated", name=target.name, uid=target.key), "sha256:0"

    async def observe(self, target: Target, handle: Handle | None) -> Observation:
        """See `backends.base.Backend`."""
        job = self._jobs.get(target.key)
        if job is None and handle is None:
            return Observation(state=State.ABSENT)
        job = job or self._begin(target)
        return Observation(
            state=State.SUCCEEDED if job.ended else State.RUNNING,
            handle=Handle(kind="Simulated", name=target.name, uid=target.key),
            start_time=job.started,
            completion_time=job.ended,
        )

    async def cancel(self, target: Target, handle: Handle | None) -> None:
        """See `backends.base.Backend`."""
        self._jobs.pop(target.key, None)
        self.queue.add(Key("ExecutionUnit", target.namespace, target.name))

    def _begin(self, target: Target) -> _Job:
        job = self._jobs.get(target.key)
        if job is None:
            job = self._jobs[target.key] = _Job(target.key, _now())
            loop = asyncio.get_running_loop()
            loop.call_later(self.seconds, self._end, job, target.namespace, target.name)
        return job

    def _end(self, job: _Job, namespace: str, name: str) -> None:
        job.ended = _now()
        self.queue.add(Key("ExecutionUnit", namespace, name))


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def run(seconds: float, arguments: list[str]) -> None:
    """The operator's own `main` with these arguments and the simulated executor."""
    build = dispatch.build

    def simulated(context: Context) -> Worker:
        backend = SimulatedBackend(context.queue, seconds)
        with mock.patch.object(dispatch, "build_backends", return_value={"job": backend}):
            return build(context)

    with (
        mock.patch.object(dispatch, "build", simulated),
        mock.patch.object(sys, "argv", ["runyard-operator", *arguments]),
    ):
        main.main()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run the operator on simulated jobs.")
    parser.add_argument("--job-seconds", type=float, default=1.0, help="how long each job runs")
    options, rest = parser.parse_known_args()
    run(options.job_seconds, [each for each in rest if each != "--"])
