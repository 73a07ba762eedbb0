"""Random histories: users, jobs, outages, crashes and stale news against the real reconcilers.

`RUNYARD_HISTORIES=2000 pytest tests/unit/engine/test_histories.py` runs a bigger profile.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runyard.api import AfterPolicy, ExperimentSpec, FailurePolicy, Task, Verdict, When
from runyard_operator.backends.base import Refused, Stalled
from runyard_operator.queue import Key
from tests.unit.engine.builders import task
from tests.unit.engine.places import JobState
from tests.unit.engine.server import NAMESPACE, Fault
from tests.unit.engine.simulation import EXP, Simulation, standalone

SELDOM = st.sampled_from([False, False, False, True])


NAMES = [f"t{number}" for number in range(4)]


@st.composite
def specs(draw: st.DrawFn) -> ExperimentSpec:
    """Up to four tasks with edges to earlier ones, and all that a spec can say about them."""
    tasks: list[Task] = []
    for number in range(draw(st.sampled_from([1, 2, 3, 4, 4]))):
        near = tasks[-2:]
        parents = draw(
            st.lists(st.sampled_from(near), unique_by=lambda t: t.name, max_size=2)
            if tasks
            else st.just([])
        )
        tasks.append(draw(one_task(number, parents)))
    finals = [task("end", env=[{"name": "HOW", "value": "${experiment.phase}"}])]
    return ExperimentSpec(
        tasks=tasks,
        finally_=finals if draw(SELDOM) else [],
        failure_policy=draw(st.sampled_from(FailurePolicy)),
        max_parallel=draw(st.sampled_from([None, None, 1, 2])),
        active_deadline_seconds=draw(st.sampled_from([None, None, None, 1800])),
    )


@st.composite
def one_task(draw: st.DrawFn, number: int, parents: list[Task]) -> Task:
    """A task after some parents; where it surely can, it reads their outputs."""
    edges = [(parent.name, draw(st.sampled_from(When))) for parent in parents]
    policy = draw(st.sampled_from(AfterPolicy))
    sure = len(edges) == 1 or policy is AfterPolicy.ALL
    more: dict[str, Any] = {}
    if draw(SELDOM):
        more["matrix"] = {"parameters": {"x": ["1", "2"]}}
        if draw(st.booleans()):
            more["matrix"]["maxParallel"] = 1
    if draw(SELDOM):
        more["approval"] = {}
    if draw(SELDOM):
        more["retry"] = {"limit": draw(st.integers(0, 2)), "backoff": {"seconds": 30}}
    return task(
        NAMES[number],
        *(f"{name}:{when}" for name, when in edges),
        afterPolicy=policy,
        allowFailure=draw(SELDOM),
        outputs=[{"name": "out"}],
        env=[
            {"name": f"FROM_{name}", "value": f"${{tasks.{name}.outputs.out}}"}
            for name, when in edges
            if sure and when is When.SUCCEEDED
        ],
        **more,
    )


class Histories(Simulation, RuleBasedStateMachine):
    """One experiment, one unit of its own, and everything that can happen to them."""

    @initialize(
        spec=specs(),
        doomed=st.frozensets(
            st.sampled_from([*(f"exp-{n}" for n in NAMES), "exp-t0-0", "exp-t1-1"]), max_size=3
        ),
        cancel=st.booleans(),
    )
    def a_user_creates(self, spec: ExperimentSpec, doomed: frozenset[str], cancel: bool) -> None:
        """The world begins."""
        self.places.doomed = doomed
        self.begin(spec.to_dict())
        self.server.add(standalone("alone", cancel=cancel))

    # The operator

    @rule(data=st.data())
    def the_operator_reconciles(self, data: st.DataObject) -> None:
        """Any object that it knows, at any time, whether it is due or not."""
        names = sorted({*self.server.objects, EXP})
        kind, name = data.draw(st.sampled_from(names))
        self.run(Key(kind, NAMESPACE, name))

    @rule(passes=st.integers(1, 12))
    def the_operator_works(self, passes: int) -> None:
        """It does what is due, with news as they come."""
        for _ in range(passes):
            self.deliver(len(self.server.events))
            due = [key for key, at in self.operator.due.items() if at <= self.now]
            if not due:
                return
            self.run(due[0])

    @rule(fault=st.sampled_from(Fault), countdown=st.integers(0, 5))
    def a_call_will_go_wrong(self, fault: Fault, countdown: int) -> None:
        """One of the next calls crashes the operator or loses its answer."""
        self.faults.fault, self.faults.countdown = fault, countdown

    @rule()
    def the_operator_is_killed(self) -> None:
        """Between two passes."""
        self.restart()

    @rule(data=st.data(), age=st.integers(1, 8))
    def the_operator_starts_on_stale_news(self, data: st.DataObject, age: int) -> None:
        """Its first list came from a cache that was behind for one object."""
        names = sorted(self.server.objects)
        if names:
            self.restart(stale=data.draw(st.sampled_from(names)), age=age)

    @rule(count=st.integers(1, 10))
    def news_arrive(self, count: int) -> None:
        """The watch is never ahead and often behind."""
        self.deliver(count)

    @rule(seconds=st.integers(-3600, 3600))
    def the_clock_jumps(self, seconds: int) -> None:
        """Forwards and backwards."""
        self.now += timedelta(seconds=seconds)
        self.operator.now = self.now

    # Users and controllers

    @rule(really=SELDOM)
    def a_user_cancels_the_experiment(self, really: bool) -> None:
        """By spec.cancel."""
        if really and EXP in self.server.objects:
            self.server.patch(EXP, [{"op": "add", "path": "/spec/cancel", "value": True}])

    @rule(suspend=st.booleans(), tasks=st.lists(st.sampled_from(NAMES), unique=True, max_size=2))
    def a_user_suspends_or_resumes(self, suspend: bool, tasks: list[str]) -> None:
        """All of it, or some tasks."""
        self.edit(suspend=suspend, suspendTasks=tasks)

    @rule(name=st.sampled_from(NAMES), verdict=st.sampled_from(Verdict))
    def an_approver_decides(self, name: str, verdict: Verdict) -> None:
        """Once for each task, at any time, asked or not."""
        spec = self.server.objects.get(EXP, {"spec": {"approvals": []}})["spec"]
        if all(each["task"] != name for each in spec["approvals"]):
            self.edit(approvals=[*spec["approvals"], {"task": name, "verdict": str(verdict)}])

    @rule(limit=st.integers(1, 3))
    def a_user_changes_the_limit(self, limit: int) -> None:
        """How many units may be on their way."""
        self.edit(maxParallel=limit)

    @rule(data=st.data(), really=SELDOM)
    def a_user_cancels_a_unit(self, data: st.DataObject, really: bool) -> None:
        """One task of many."""
        if really and (units := self.units()):
            name = data.draw(st.sampled_from(units))
            self.server.patch(name, [{"op": "add", "path": "/spec/cancel", "value": True}])

    @rule(data=st.data(), really=SELDOM)
    def a_user_deletes_a_unit(self, data: st.DataObject, really: bool) -> None:
        """Its task is not run again."""
        if really and (units := self.units()):
            self.server.remove(data.draw(st.sampled_from(units)))

    @rule(really=SELDOM)
    def a_user_deletes_the_experiment(self, really: bool) -> None:
        """In any phase."""
        if really:
            self.server.remove(EXP)

    @precondition(lambda self: EXP not in self.server.objects)
    @rule()
    def a_user_creates_it_again(self) -> None:
        """Under the same name, while units of the old one may still be there."""
        self.server.add(self.manifest)

    @rule()
    def the_garbage_collector_runs(self) -> None:
        """Units without their experiment, and jobs without their unit, go."""
        self.server.collect_garbage()
        self.places.collect_garbage()

    # The backend

    @rule(data=st.data(), ending=st.sampled_from(JobState))
    def a_job_goes_on(self, data: st.DataObject, ending: JobState) -> None:
        """It runs, ends in any way, or is gone when it was terminating."""
        if self.places.jobs:
            self.places.advance(data.draw(st.sampled_from(sorted(self.places.jobs))), ending)

    @rule(data=st.data())
    def a_job_disappears(self, data: st.DataObject) -> None:
        """Somebody deletes it after the operator has written what it is.

        Before that, a job that is deleted cannot be told from one that was never made.
        """
        noted = [key for key in sorted(self.places.jobs) if self.is_noted(key)]
        if noted:
            del self.places.jobs[data.draw(st.sampled_from(noted))]

    @rule(outage=st.booleans())
    def the_backend_goes_or_comes_back(self, outage: bool) -> None:
        """Unreachable is not a state of any job."""
        self.places.outage = outage

    @rule(mood=st.sampled_from([None, Stalled, Refused]))
    def the_backend_changes_its_mind(self, mood: type[Exception] | None) -> None:
        """It takes submissions, or wants a human first, or never takes them."""
        self.places.mood = mood

    @invariant()
    def it_holds(self) -> None:
        """What holds at every moment."""
        self.check()

    def teardown(self) -> None:
        """All comes to its end."""
        if hasattr(self, "manifest"):
            self.finish()

    def is_noted(self, key: str) -> bool:
        """Whether the job's handle is in its unit's status, or its unit has gone."""
        job = self.places.jobs[key]
        unit = self.server.objects.get(("ExecutionUnit", job.unit))
        if unit is None or unit["metadata"]["uid"] != job.uid:
            return True
        attempts = unit["status"].get("attempts", [])
        return any(each["key"] == key and "handle" in each for each in attempts)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=int(os.environ.get("RUNYARD_HISTORIES", "150")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[each for each in Phase if each is not Phase.shrink or os.environ.get("RUNYARD_SHRINK")],
)
