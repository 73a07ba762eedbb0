"""A backend in memory: jobs by key, which go on, fail, vanish, and are not always reachable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from enum import StrEnum

from runyard.api import Handle
from runyard_operator.backends.base import Plan, Target, Unreachable
from runyard_operator.engine.observation import Observation, State
from tests.unit.engine.server import Faults, Object, Server


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
    suspended: bool = False


@dataclass
class Places:
    """The backend: jobs by key. `mood` is how it takes new submissions.

    `started` has the units that had a job, for each unit's name and the experiment's UID; the jobs
    of the units in `doomed` fail when they are left to themselves.
    """

    faults: Faults
    server: Server
    kind: str = "job"
    settle_seconds: float = 0.0
    can_suspend: bool = True
    jobs: dict[str, Job] = field(default_factory=dict)
    created: Counter[str] = field(default_factory=Counter)
    started: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    premature: list[str] = field(default_factory=list)
    doomed: frozenset[str] = frozenset()
    outage: bool = False
    mood: type[Exception] | None = None

    async def plan(self, target: Target) -> Plan:
        return Plan(objects=(), digest="sha256:0")

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

    async def suspend(self, target: Target, handle: Handle | None) -> None:
        await self._hold(target, suspended=True)

    async def resume(self, target: Target, handle: Handle | None) -> None:
        await self._hold(target, suspended=False)

    async def _hold(self, target: Target, *, suspended: bool) -> None:
        if self.outage:
            raise Unreachable("Unreachable", "connection refused")
        for _ in self.faults.around(Unreachable):
            job = self.jobs.get(target.key)
            if job is not None and not job.terminating and not job.state.over:
                job.suspended = suspended
                job.state = JobState.WAITING

    def advance(self, key: str, state: JobState) -> None:
        """The job goes on to this state, unless it is over or on its way out."""
        job = self.jobs[key]
        if job.terminating:
            del self.jobs[key]
        elif not job.state.over and not job.suspended:
            job.state = state

    def go_on(self, waiting: Container[str]) -> str | None:
        """One job takes its next step towards its end; the unit that is told of it.

        Those in `waiting` only vanish, when they were told to.
        """
        for key, job in self.jobs.items():
            if job.terminating or not (job.state.over or job.suspended or key in waiting):
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
            self.started.setdefault((owner["uid"], target.name), set()).add(target.uid)
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
        if job.suspended:
            return Observation(state=State.SUSPENDED, handle=job.handle)
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
    spec, phases = owner["spec"], phases_of(server, owner)
    if any(each["name"] == target.spec.task for each in spec.get("finally", [])):
        main = [name for each in spec["tasks"] for name in members(owner, each)]
        return [f"{target.name} started before {name}" for name in main if phases[name] is None]
    (task,) = [each for each in spec["tasks"] if each["name"] == target.spec.task]
    problems = []
    for edge in task["after"]:
        (parent,) = [each for each in spec["tasks"] if each["name"] == edge["task"]]
        ends = [phases[name] for name in members(owner, parent)]
        met = {
            "Succeeded": None not in ends and together(ends) == "Succeeded",
            "Failed": None not in ends and together(ends) == "Failed",
            "Finished": None not in ends,
        }[edge["when"]]
        if not met:
            problems.append(f"{target.name} started; {edge['task']} is {ends}, not {edge['when']}")
    if task["afterPolicy"] == "Any" and len(problems) < len(task["after"]):
        return []
    verdicts = {each["task"]: each["verdict"] for each in spec["approvals"]}
    if "approval" in task and verdicts.get(task["name"]) != "Approve":
        problems.append(f"{target.name} started and is not approved")
    return problems


def members(experiment: Object, task: Object) -> list[str]:
    """The names of the units of a task."""
    name = f"{experiment['metadata']['name']}-{task['name']}"
    if "matrix" not in task:
        return [name]
    (values,) = task["matrix"]["parameters"].values()
    return [f"{name}-{index}" for index in range(len(values))]


LETTERS = {"S": "Succeeded", "F": "Failed", "C": "Cancelled", "K": "Skipped"}


def phases_of(server: Server, experiment: Object) -> dict[str, str | None]:
    """How each unit of an experiment has ended: by its record, or else by the unit itself."""
    found: dict[str, str | None] = {}
    records = {each["name"]: each["states"] for each in experiment["status"].get("tasks", [])}
    for task in [*experiment["spec"]["tasks"], *experiment["spec"].get("finally", [])]:
        names = members(experiment, task)
        for name, letter in zip(names, records.get(task["name"], "." * len(names)), strict=True):
            unit = server.objects.get(("ExecutionUnit", name))
            phase = unit["status"].get("phase") if unit else None
            made = letter == "+" and unit is None
            by_unit = phase if phase in LETTERS.values() else None
            found[name] = LETTERS.get(letter) or ("Cancelled" if made else by_unit)
    return found


def together(ends: list[str | None]) -> str:
    """How a task ended whose members ended so."""
    kinds = set(ends)
    for phase in ("Failed", "Cancelled", "Succeeded"):
        if phase in kinds:
            return phase
    return "Skipped"
