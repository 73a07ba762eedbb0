"""The operator as a process against a real API server with its real controllers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import audit
from tests.support.experiments import (
    EXPERIMENT,
    TERMINAL,
    UNIT,
    experiment,
    finished,
    job,
    phase,
)
from tests.support.kubectl import Kubectl
from tests.support.kubelet import End, Kubelet
from tests.support.operator import OperatorProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


def status(kube: Kubectl, unit: str) -> dict[str, Any]:
    """The status of a unit, empty while there is none."""
    return (kube.get(UNIT, unit) or {}).get("status", {})


def condition(obj: dict[str, Any], type_: str) -> dict[str, Any]:
    """The condition of that type; empty when it is not there."""
    found = obj.get("status", {}).get("conditions", [])
    return next((each for each in found if each["type"] == type_), {})


def test_a_chain_runs_to_its_end(kube: Kubectl, operator: OperatorProcess, cluster: Any) -> None:
    """Each task gets one unit and one Job, in order; at the end no finalizer is left."""
    kube.apply(
        experiment(
            "chain",
            job("one", "true"),
            job("two", "true", after=[{"task": "one"}]),
            job("three", "true", after=[{"task": "two"}]),
        )
    )
    with Kubelet(kube):
        done = finished(kube, "chain")
    assert phase(done) == "Succeeded"
    assert done["status"]["progress"] == "3/3"
    assert condition(done, "Succeeded")["status"] == "True"
    assert condition(done, "Reconciling")["status"] == "False"
    eventually(
        lambda: (
            not any(
                each["metadata"].get("finalizers") for each in kube.list(f"{EXPERIMENT},{UNIT}")
            )
        ),
        "the finalizers are released",
    )
    counts = audit.created(cluster.audit_log, kube.namespace, "jobs", "executionunits")
    assert set(counts.values()) == {1}
    assert len(counts) == 6


def test_fail_fast_ends_the_other_branches(kube: Kubectl, operator: OperatorProcess) -> None:
    """By default a failure cancels what runs and skips what waits, each with its reason."""
    kube.apply(
        experiment(
            "fast",
            job("bad", "false"),
            job("long", "sleep 1000"),
            job("later", "true", after=[{"task": "long"}]),
        )
    )
    with Kubelet(kube, ends={"bad": End(9, "it broke")}, held={"long", "bad"}) as kubelet:
        eventually(lambda: status(kube, "fast-long").get("phase") == "Running", "long runs")
        kubelet.held.discard("bad")
        done = finished(kube, "fast")
    assert phase(done) == "Failed"
    assert status(kube, "fast-bad")["attempts"][0]["exitCode"] == 9
    assert status(kube, "fast-bad")["attempts"][0]["lastLogLines"] == ["it broke"]
    assert status(kube, "fast-long")["phase"] == "Cancelled"
    assert (status(kube, "fast-later")["phase"], status(kube, "fast-later")["reason"]) == (
        "Skipped",
        "FailFast",
    )


def test_a_foreign_job_is_neither_adopted_nor_touched(
    kube: Kubectl, operator: OperatorProcess
) -> None:
    """A Job of the wanted name that is not ours stalls the unit until somebody removes it."""
    foreign = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "mine-only-1"},
        "spec": {
            "suspend": True,
            "template": {
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}
            },
        },
    }
    kube.apply(foreign)
    before = kube.get("job", "mine-only-1")
    kube.apply(experiment("mine", job("only", "true")))
    unit = eventually(
        lambda: (
            found
            if condition(found := kube.get(UNIT, "mine-only") or {}, "Stalled").get("status")
            == "True"
            else None
        ),
        "the unit is stalled",
    )
    assert condition(unit, "Stalled")["reason"] == "NameConflict"
    assert "mine-only-1" in condition(unit, "Stalled")["message"]
    after = kube.get("job", "mine-only-1")
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"].get("labels") == before["metadata"].get("labels")
    kube.run("delete", "job", "mine-only-1")
    with Kubelet(kube):
        assert phase(finished(kube, "mine")) == "Succeeded"


def test_a_killed_operator_neither_loses_nor_doubles_work(
    kube: Kubectl, operator: OperatorProcess, cluster: Any
) -> None:
    """SIGKILL right after each step of a chain: every unit and Job is created exactly once."""
    tasks = [job("t0", "true")]
    tasks += [job(f"t{n}", "true", after=[{"task": f"t{n - 1}"}]) for n in range(1, 4)]
    kube.apply(experiment("killed", *tasks))
    seen: set[tuple[str | None, ...]] = set()

    def phases() -> tuple[str | None, ...]:
        found = [*kube.list(UNIT), *kube.list(EXPERIMENT)]
        return tuple(phase(each) for each in found)

    with Kubelet(kube):
        while phase(kube.get(EXPERIMENT, "killed")) not in TERMINAL:
            now = eventually(
                lambda: (found := phases()) not in seen and found,
                "something happens",
                interval=0.02,
            )
            seen.add(now or ())
            operator.kill()
            operator.start(wait_ready=False)
        assert phase(finished(kube, "killed")) == "Succeeded"
    counts = audit.created(cluster.audit_log, kube.namespace, "jobs", "executionunits")
    assert set(counts.values()) == {1}
    assert len(counts) == 8


def test_a_dead_api_server_changes_no_phase(
    kube: Kubectl, operator: OperatorProcess, cluster: Any
) -> None:
    """Unreachable is a condition, never a phase: work goes on when the API server is back."""
    kube.apply(
        experiment("cut", job("only", "true"), job("next", "true", after=[{"task": "only"}]))
    )
    with Kubelet(kube, held={"only"}) as kubelet:
        eventually(lambda: status(kube, "cut-only").get("phase") == "Running", "only runs")
        cluster.restart("kube-apiserver")
        kubelet.held.clear()
        done = finished(kube, "cut")
    assert phase(done) == "Succeeded"
    assert len(status(kube, "cut-only")["attempts"]) == 1


def test_a_profile_may_come_late(kube: Kubectl, operator: OperatorProcess) -> None:
    """An experiment whose profile is missing says so, and runs once the profile is there."""
    task = {
        "name": "only",
        "script": {"inline": "true"},
        "executor": {"job": {}},
        "profile": "small",
    }
    kube.apply(experiment("late", task))
    waiting = eventually(
        lambda: (
            found
            if condition(found := kube.get(EXPERIMENT, "late") or {}, "Accepted").get("status")
            == "False"
            else None
        ),
        "the experiment says what it misses",
    )
    assert condition(waiting, "Accepted")["reason"] == "ProfileNotFound"
    kube.apply(
        {
            "apiVersion": "runyard.dev/v1alpha1",
            "kind": "ExecutionProfile",
            "metadata": {"name": "base"},
            "spec": {"executor": {"job": {"image": "example/image", "cpu": "1"}}},
        },
        {
            "apiVersion": "runyard.dev/v1alpha1",
            "kind": "ExecutionProfile",
            "metadata": {"name": "small"},
            "spec": {"extends": "base", "env": [{"name": "A", "value": "b"}]},
        },
    )
    with Kubelet(kube):
        assert phase(finished(kube, "late")) == "Succeeded"
    spec = (kube.get("job", "late-only-1") or {})["spec"]["template"]["spec"]["containers"][0]
    assert spec["image"] == "example/image"
    assert {"name": "A", "value": "b"} in spec["env"]


def test_a_cycle_is_refused_by_name(kube: Kubectl, operator: OperatorProcess) -> None:
    """Tasks that wait for each other end the experiment at once, with the cycle in the message."""
    kube.apply(
        experiment(
            "round",
            job("a", "true", after=[{"task": "b"}]),
            job("b", "true", after=[{"task": "a"}]),
        )
    )
    done = finished(kube, "round")
    assert phase(done) == "Failed"
    assert condition(done, "Accepted")["reason"] == "InvalidGraph"
    assert "a -> b -> a" in condition(done, "Accepted")["message"]
    assert kube.list(UNIT) == []


def test_a_deleted_unit_is_not_run_again(kube: Kubectl, operator: OperatorProcess) -> None:
    """Deleting a unit of a live experiment cancels its task for good."""
    kube.apply(experiment("prune", job("a", "sleep 1000"), job("b", "true", after=[{"task": "a"}])))
    with Kubelet(kube, held={"a"}):
        eventually(lambda: status(kube, "prune-a").get("phase") == "Running", "a runs")
        kube.run("delete", UNIT, "prune-a", "--timeout=60s")
        done = finished(kube, "prune")
    assert phase(done) == "Cancelled"
    assert kube.get(UNIT, "prune-a") is None
    assert status(kube, "prune-b")["phase"] == "Skipped"


def test_events_tell_where_people_should_look(kube: Kubectl, operator: OperatorProcess) -> None:
    """The phases of an experiment, and a unit that failed; not each step of one that fares well."""
    kube.apply(
        experiment("told", job("good", "true"), job("bad", "false", after=[{"task": "good"}]))
    )
    with Kubelet(kube, {"bad": End(exit_code=3)}):
        finished(kube, "told")

    def reasons(name: str) -> list[str]:
        events = kube.list("events")
        return [e["reason"] for e in events if e["involvedObject"]["name"] == name]

    eventually(lambda: "Failed" in reasons("told"), "the last event is posted")
    assert reasons("told") == list(dict.fromkeys(reasons("told")))
    assert reasons("told-bad") == ["Failed"]
    assert reasons("told-good") == []


def test_a_time_to_live_removes_all_that_was_made(kube: Kubectl, operator: OperatorProcess) -> None:
    """Only once it has ended; what it owned goes with it."""
    kube.apply(experiment("brief", job("only", "true"), ttlSecondsAfterFinished=2))
    kube.apply(experiment("stays", job("only", "true")))
    with Kubelet(kube):
        finished(kube, "stays")
        eventually(lambda: kube.get(EXPERIMENT, "brief") is None, "the experiment is deleted")
        eventually(lambda: kube.get(UNIT, "brief-only") is None, "its unit is gone")
        eventually(lambda: kube.get("jobs", "brief-only-1") is None, "its Job is gone")
    assert kube.get(UNIT, "stays-only") is not None
