"""A branch that moves while the operator crashes: all units of an experiment have one commit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runyard.api import ExperimentSpec
from runyard_operator.kube.errors import AlreadyExists, Unavailable
from runyard_operator.kube.resources import Ref
from tests.unit.engine.builders import task
from tests.unit.engine.places import Places
from tests.unit.engine.server import Fault, Faults, Object, Objects, Server, clone
from tests.unit.engine.simulation import EXP, Simulation

GIT = {"git": {"url": "https://host/repo.git", "ref": "main"}}
TASKS = [task("a"), task("b", "a"), task("c", "b")]


class GitServer(Server):
    """Runs the Jobs that look up commits; the branch moves each time that one has looked."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(faults)
        self.jobs: dict[str, Object] = {}
        self.looked = 0
        self.fails = 0

    async def get(self, ref: Ref) -> Object | None:
        if ref.kind != "Job":
            return await super().get(ref)
        with self._call():
            return clone(self.jobs.get(ref.name))

    async def create(self, manifest: Object) -> Object:
        if manifest["kind"] != "Job":
            return await super().create(manifest)
        with self._call():
            name = manifest["metadata"]["name"]
            if name in self.jobs:
                raise AlreadyExists(name)
            self.looked += 1
            job = clone(manifest)
            job["metadata"] |= {"uid": f"job-{self.looked}", "resourceVersion": "1"}
            job["status"] = {"number": self.looked}
            self.jobs[name] = job
            return job

    async def list(self, api_version: str, kind: str, **selectors: Any) -> Objects:
        if kind != "Pod":
            return await super().list(api_version, kind, **selectors)
        with self._call():
            name = selectors["label_selector"].partition("=")[2]
            return [self._pod(self.jobs[name])] if name in self.jobs else []

    async def delete(self, ref: Ref, *, uid: str | None = None) -> bool:
        if ref.kind != "Job":
            return await super().delete(ref, uid=uid)
        with self._call():
            return self.jobs.pop(ref.name, None) is not None

    @contextmanager
    def _call(self) -> Iterator[None]:
        around = self.faults.around(Unavailable)
        next(around)
        yield
        next(around, None)

    def _pod(self, job: Object) -> Object:
        number = job["status"]["number"]
        fails = number <= self.fails
        message = "no branch" if fails else json.dumps({"commit": f"{number:040x}"})
        ended = {"exitCode": int(fails), "message": message}
        state = {"name": "resolve", "state": {"terminated": ended}}
        return {
            "metadata": {"name": "p", "labels": {}},
            "spec": {},
            "status": {"phase": "Succeeded", "containerStatuses": [state]},
        }


class GitSimulation(Simulation):
    """The simulation with a git server behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.git = self.server = GitServer(self.faults)
        self.places = Places(self.faults, self.server)
        self.restart()


def commits(world: GitSimulation) -> set[str]:
    """The commits that the units name."""
    return {world.server.objects[name]["spec"]["code"]["git"]["commit"] for name in world.units()}


@settings(max_examples=60, deadline=None)
@given(
    troubles=st.lists(st.tuples(st.sampled_from(Fault), st.integers(0, 12)), max_size=8),
    fails=st.integers(0, 2),
)
def test_one_commit_for_all(troubles: list[tuple[Fault, int]], fails: int) -> None:
    """Whatever is lost, crashed or repeated; what could not be found is looked for again."""
    world = GitSimulation()
    world.git.fails = fails
    spec = {"tasks": [each.to_dict() for each in TASKS], "code": GIT}
    world.begin(ExperimentSpec.model_validate(spec).to_dict())
    world.restart()
    for fault, countdown in troubles:
        world.faults.fault, world.faults.countdown = fault, countdown
        world.settle(passes=6)
        world.check()
        assert len(commits(world)) <= 1
    world.finish()
    status = world.server.objects[EXP]["status"]
    assert status["phase"] == "Succeeded" or status["failedTasks"]
    assert commits(world) == {status["code"]["commit"]}
    assert len(world.units()) == len(TASKS) or status["failedTasks"]
