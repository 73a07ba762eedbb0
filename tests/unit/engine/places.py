"""A backend in memory: jobs by key, which go on, fail, vanish, and are not always reachable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from enum import StrEnum

from runyard.api import Handle
from runyard_operator.backends.base import Target, Unreachable
from runyard_operator.engine.observation import Observation, State
from tests.unit.engine.server import Faults, Server


class JobState(StrEnum):
    """How far a job is."""

    WAITING = "Waiting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"

    @property
    def over(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED)


@dataclass
class Job:
    """A job at the backend."""

    handle: Handle
    unit: str
    uid: str
    outputs: tuple[str, ...]
    state: JobState = JobState.WAITING
    terminating: bool = False


@dataclass
class Places:
    """The backend: jobs by key. `mood` is how it takes new submissions.

    `started` counts the jobs of each task of an experiment, by its UID; the jobs of the units in
    `doomed` fail when they are left to themselves.
    """

    faults: Faults
    server: Server
    kind: str = "job"
    jobs: dict[str, Job] = field(default_factory=dict)
    created: Counter[str] = field(default_factory=Counter)
    started: Counter[tuple[str, str]] = field(default_factory=Counter)
    premature: list[str] = field(default_factory=list)
    doomed: frozenset[str] = frozenset()
    outage: bool = False
    mood: type[Exception] | None = None

    async def submit(self, target: Target) -> tuple[Handle, str]:
        if self.outage:
            raise Unreachable("Unreachable", "connection refused")
        for _ in self.faults.around(Unreachable):
            if target.key not in self.jobs:
                if self.mood is not None:
                    raise self.mood("QuotaExceeded", "no")
                self._begin(target)
            handle = self.jobs[target.key].handle
        return handle, "sha256:0"

    async def observe(self, target: Target, handle: Handle | None) -> Observation:
        lost = Observation(state=State.UNKNOWN, message="connection refused")
        if self.outage:
            return lost
        try:
            for _ in self.faults.around(Unreachable):
                seen = self._look(target.key)
        except Unreachable:
            return lost
        return seen

    async def cancel(self, target: Target, handle: Handle | None) -> None:
        if self.outage:
            raise Unreachable("Unreachable", "connection refused")
        for _ in self.faults.around(Unreachable):
            if target.key in self.jobs:
                self.jobs[target.key].terminating = True

    def advance(self, key: str, state: JobState) -> None:
        """The job goes on to this state, unless it is over or on its way out."""
        job = self.jobs[key]
        if job.terminating:
            del self.jobs[key]
        elif not job.state.over:
            job.state = state

    def go_on(self, waiting: Container[str]) -> str | None:
        """One job takes its next step towards its end; the unit that is told of it.

        Those in `waiting` only vanish, when they were told to.
        """
        for key, job in self.jobs.items():
            if job.terminating or not (job.state.over or key in waiting):
                running = job.state is JobState.RUNNING
                end = JobState.FAILED if job.unit in self.doomed else JobState.SUCCEEDED
                self.advance(key, end if running else JobState.RUNNING)
                return job.unit
        return None

    def collect_garbage(self) -> bool:
        """Deletes the jobs whose unit is gone; whether there were any."""
        uids = {obj["metadata"]["uid"] for obj in self.server.objects.values()}
        orphans = [key for key, job in self.jobs.items() if job.uid not in uids]
        for key in orphans:
            del self.jobs[key]
        return bool(orphans)

    def _begin(self, target: Target) -> None:
        self.created[target.key] += 1
        unit = self.server.objects.get(("ExecutionUnit", target.name), {"metadata": {}})
        for owner in unit["metadata"].get("ownerReferences", []):
            self.started[owner["uid"], target.name] += 1
        self.premature += _unmet(self.server, target)
        self.jobs[target.key] = Job(
            handle=Handle(kind="Job", name=target.name, uid=f"job-{sum(self.created.values())}"),
            unit=target.name,
            uid=target.uid,
            outputs=tuple(each.name for each in target.spec.outputs),
        )

    def _look(self, key: str) -> Observation:
        job = self.jobs.get(key)
        if job is None:
            return Observation(state=State.ABSENT)
        if job.terminating:
            return Observation(state=State.TERMINATING, handle=job.handle)
        return Observation(
            state=State(str(job.state)),
            handle=job.handle,
            outputs=tuple((name, "1") for name in job.outputs)
            if job.state is JobState.SUCCEEDED
            else (),
        )


def _unmet(server: Server, target: Target) -> list[str]:
    """What must have ended, and has not, before the unit of this target may start."""
    owner = server.objects.get(("Experiment", target.spec.experiment or ""))
    if owner is None or target.spec.task is None:
        return []
    (task,) = [each for each in owner["spec"]["tasks"] if each["name"] == target.spec.task]
    problems = []
    for edge in task["after"]:
        name = f"{target.spec.experiment}-{edge['task']}"
        parent = server.objects.get(("ExecutionUnit", name))
        phase = parent["status"].get("phase") if parent else "Cancelled"
        met = {
            "Succeeded": phase == "Succeeded",
            "Failed": phase == "Failed",
            "Finished": phase in ("Succeeded", "Failed", "Cancelled", "Skipped"),
        }[edge["when"]]
        if not met:
            problems.append(f"{target.name} started while {name} was {phase}, not {edge['when']}")
    return problems
