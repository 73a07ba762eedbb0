"""Random histories: users, jobs, outages, crashes and stale news against the real reconcilers.

`RUNYARD_HISTORIES=2000 pytest tests/unit/engine/test_histories.py` runs a bigger profile.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runyard.api import ExperimentSpec, FailurePolicy, Task, When
from runyard_operator.backends.base import Refused, Stalled
from runyard_operator.queue import Key
from tests.unit.engine.builders import NOW, task
from tests.unit.engine.world import (
    NAMESPACE,
    CrashError,
    Fault,
    Faults,
    JobState,
    Name,
    Operator,
    Places,
    Server,
    experiment,
    has_finalizer,
    standalone,
)

EXP: Name = ("Experiment", "exp")
TERMINAL = ("Succeeded", "Failed", "Cancelled", "Skipped")
SELDOM = st.sampled_from([False, False, False, True])
MAX_PASSES = 400
"""Far more than the longest history needs; a livelock needs more than any number."""


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


class Histories(RuleBasedStateMachine):
    """One experiment, one unit of its own, and everything that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.faults = Faults()
        self.server = Server(self.faults)
        self.places = Places(self.faults, self.server)
        self.restart()

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
        spec = ExperimentSpec(tasks=tasks, failure_policy=policy, cancel=False).to_dict()
        self.manifest = experiment("exp", spec)
        self.server.add(self.manifest)
        self.server.add(standalone("alone", cancel=cancel))

    # The operator

    def restart(self, stale: Name | None = None, age: int = 0) -> None:
        """A new life of the operator; the list that it begins with may have an old object."""
        self.operator = Operator(self.server, self.places, self.now)
        self.server.events.clear()
        for name, obj in self.server.objects.items():
            history = self.server.history[name]
            self.operator.take(history[max(len(history) - 1 - age, 0)] if name == stale else obj)

    def run(self, key: Key) -> None:
        """One pass; a crash in it is followed by a restart."""
        try:
            self.operator.reconcile(key)
        except CrashError:
            self.restart()

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

    @rule(data=st.data(), age=st.integers(1, 4))
    def the_operator_starts_on_stale_news(self, data: st.DataObject, age: int) -> None:
        """Its first list came from a cache that was behind for one object."""
        names = sorted(self.server.objects)
        if names:
            self.restart(stale=data.draw(st.sampled_from(names)), age=age)

    @rule(count=st.integers(1, 10))
    def news_arrive(self, count: int) -> None:
        """The watch is never ahead and often behind."""
        self.deliver(count)

    def deliver(self, count: int) -> None:
        """The next events of the watch."""
        for gone, obj in self.server.events[:count]:
            self.operator.take(obj, gone=gone)
        del self.server.events[:count]

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

    # What always holds

    @invariant()
    def one_job_for_each_attempt(self) -> None:
        """Whatever is lost, crashed or repeated."""
        twice = {key: times for key, times in self.places.created.items() if times > 1}
        assert not twice

    @invariant()
    def one_job_for_each_task_of_an_experiment(self) -> None:
        """Also when its unit was deleted, and whatever old news say."""
        assert not {task: times for task, times in self.places.started.items() if times > 1}

    @invariant()
    def no_task_starts_before_its_edges_are_met(self) -> None:
        """By the phases that were written when its job was made."""
        assert not self.places.premature

    @invariant()
    def a_living_job_has_a_unit_with_our_finalizer(self) -> None:
        """And so nothing is left when unit and experiment are gone."""
        for job in self.places.jobs.values():
            if job.state.over:
                continue
            unit = self.server.objects.get(("ExecutionUnit", job.unit))
            assert unit is not None, job
            assert unit["metadata"]["uid"] == job.uid
            assert has_finalizer(unit)
            assert unit["status"].get("phase") not in TERMINAL, (job, unit)

    @invariant()
    def a_finished_experiment_has_finished_units(self) -> None:
        """It never ends, and never lets go, while one of its units goes on."""
        owners = {obj["metadata"]["uid"]: obj for obj in self.server.objects.values()}
        for name in self.units():
            unit = self.server.objects[name]
            for owner in unit["metadata"].get("ownerReferences", []):
                found = owners.get(owner["uid"])
                if found is None or "completionTime" in found["status"]:
                    assert unit["status"].get("phase") in TERMINAL, unit

    # The end

    def teardown(self) -> None:
        """Faults stop; then everything ends in bounded steps, and nothing is done twice."""
        if not hasattr(self, "manifest"):
            return
        self.faults.fault = None
        self.places.outage, self.places.mood = False, None
        self.restart()
        self.settle()
        for name, obj in self.server.objects.items():
            assert obj["status"].get("phase") in TERMINAL, (name, obj)
            assert not has_finalizer(obj), name
            assert obj["status"]["observedGeneration"] == obj["metadata"]["generation"]
        self.check_invariants_once_more()
        self.check_result()
        writes = self.server.writes
        self.restart()
        self.settle()
        assert self.server.writes == writes

    def check_invariants_once_more(self) -> None:
        """The end is a state like any other."""
        self.one_job_for_each_attempt()
        self.one_job_for_each_task_of_an_experiment()
        self.no_task_starts_before_its_edges_are_met()
        self.a_living_job_has_a_unit_with_our_finalizer()
        self.a_finished_experiment_has_finished_units()

    def check_result(self) -> None:
        """The end of every task and of the experiment is what its edges and policy ask for."""
        end = self.server.objects.get(EXP)
        if end is None or len(self.units()) < len(end["spec"]["tasks"]) + 1:
            return  # Deleted, or a unit of it was.
        if end["status"]["conditions"][0]["status"] != "True":
            return
        phases = {
            each["name"]: self.server.objects["ExecutionUnit", f"exp-{each['name']}"]["status"][
                "phase"
            ]
            for each in end["spec"]["tasks"]
        }
        cancelled = end["spec"]["cancel"]
        check_tasks(end["spec"], phases, cancelled=cancelled)
        assert end["status"]["phase"] == expected_result(end["spec"], phases, cancelled=cancelled)

    def settle(self) -> None:
        """Runs only what is due: events and wishes alone must bring everything to its end."""
        for _ in range(MAX_PASSES):
            self.deliver(len(self.server.events))
            self.operator.now = self.now
            due = sorted((at, key) for key, at in self.operator.due.items())
            if due and due[0][0] <= self.now:
                self.run(due[0][1])
            elif woken := self.places.go_on():
                self.operator.wake(Key("ExecutionUnit", NAMESPACE, woken))
            elif self.server.collect_garbage() or self.places.collect_garbage():
                continue
            elif due:
                self.now = due[0][0]
            else:
                return
        raise AssertionError(f"still busy after {MAX_PASSES} passes: {self.operator.due}")

    def units(self) -> list[Name]:
        """The units that exist."""
        return sorted(name for name in self.server.objects if name[0] == "ExecutionUnit")

    def is_noted(self, key: str) -> bool:
        """Whether the job's handle is in its unit's status, or its unit has gone."""
        job = self.places.jobs[key]
        unit = self.server.objects.get(("ExecutionUnit", job.unit))
        if unit is None or unit["metadata"]["uid"] != job.uid:
            return True
        attempts = unit["status"].get("attempts", [])
        return any(each["key"] == key and "handle" in each for each in attempts)


MET = {
    "Succeeded": {"Succeeded"},
    "Failed": {"Failed"},
    "Finished": {"Succeeded", "Failed", "Cancelled", "Skipped"},
}


def check_tasks(spec: dict[str, Any], phases: dict[str, str], *, cancelled: bool) -> None:
    """Whoever had its edges met ran, and whoever had not did not."""
    stopped = cancelled or (spec["failurePolicy"] == "FailFast" and "Failed" in phases.values())
    for each in spec["tasks"]:
        met = all(phases[edge["task"]] in MET[edge["when"]] for edge in each["after"])
        phase = phases[each["name"]]
        if not met:
            assert phase in ("Skipped", "Cancelled"), (each["name"], phases)
        elif not stopped:
            assert phase != "Skipped", (each["name"], phases)


def expected_result(spec: dict[str, Any], phases: dict[str, str], *, cancelled: bool) -> str:
    """The result of an experiment as the documentation has it."""
    handled = {
        edge["task"]
        for each in spec["tasks"]
        for edge in each["after"]
        if edge["when"] == "Failed" and phases[each["name"]] == "Succeeded"
    }
    if cancelled and "Cancelled" in phases.values():
        return "Cancelled"
    if any(phase == "Failed" and name not in handled for name, phase in phases.items()):
        return "Failed"
    return "Cancelled" if "Cancelled" in phases.values() else "Succeeded"


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=int(os.environ.get("RUNYARD_HISTORIES", "60")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
