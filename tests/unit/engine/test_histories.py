"""Random histories: users, jobs, outages, crashes and stale news against the real reconcilers.

`RUNYARD_HISTORIES=2000 pytest tests/unit/engine/test_histories.py` runs a bigger profile.
"""

from __future__ import annotations

import os
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runyard.api import ExperimentSpec, FailurePolicy, Task, When
from runyard_operator.backends.base import Refused, Stalled
from runyard_operator.queue import Key
from tests.unit.engine.builders import task
from tests.unit.engine.places import JobState
from tests.unit.engine.server import NAMESPACE, Fault
from tests.unit.engine.simulation import EXP, Simulation, standalone

SELDOM = st.sampled_from([False, False, False, True])


@st.composite
def dags(draw: st.DrawFn) -> list[Task]:
    """Up to four tasks with edges to earlier ones; some read an output of a parent."""
    tasks: list[Task] = []
    for number in range(draw(st.sampled_from([1, 2, 3, 4, 4]))):
        near = tasks[-2:]
        parents = draw(
            st.lists(st.sampled_from(near), unique_by=lambda t: t.name, max_size=2)
            if tasks
            else st.just([])
        )
        edges = [(parent.name, draw(st.sampled_from(When))) for parent in parents]
        reads = [name for name, when in edges if when is When.SUCCEEDED]
        tasks.append(
            task(
                f"t{number}",
                *(f"{name}:{when}" for name, when in edges),
                outputs=[{"name": "out"}],
                env=[
                    {"name": f"FROM_{name}", "value": f"${{tasks.{name}.outputs.out}}"}
                    for name in reads
                ],
            )
        )
    return tasks


class Histories(Simulation, RuleBasedStateMachine):
    """One experiment, one unit of its own, and everything that can happen to them."""

    @initialize(
        tasks=dags(),
        policy=st.sampled_from(FailurePolicy),
        doomed=st.frozensets(st.sampled_from([f"exp-t{n}" for n in range(4)]), max_size=2),
        cancel=st.booleans(),
    )
    def a_user_creates(
        self, tasks: list[Task], policy: FailurePolicy, doomed: frozenset[str], cancel: bool
    ) -> None:
        """The world begins."""
        self.places.doomed = doomed
        spec = ExperimentSpec(tasks=tasks, failure_policy=policy)
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
)
