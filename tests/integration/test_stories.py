"""Ways in which other bridges to a scheduler have gone wrong, on a real API server.

The page docs/stories.md says where each of the stories T1 to T15 is tested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard.api.constants import LABEL_MANAGED_BY, LABEL_UNIT_UID
from runyard_operator.backends.base import Stalled, Unreachable
from runyard_operator.backends.job.backend import JobBackend
from runyard_operator.backends.pods.code import stage
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.engine.observation import State
from runyard_operator.kube import HttpKubeApi, Ref, load_configuration
from runyard_operator.kube.api import Object
from runyard_operator.store import Store
from tests.support import audit
from tests.support.experiments import EXPERIMENT, UNIT, experiment, finished, job, phase
from tests.support.faulty import HANG, Fault, Faulty, faulty
from tests.support.kubectl import Kubectl
from tests.support.kubelet import Kubelet
from tests.support.operator import OperatorProcess
from tests.support.targets import make_target
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
def line(kube: Kubectl, tmp_path: Path) -> Iterator[Faulty]:
    """A proxy between the operator and the API server."""
    with faulty(kube, tmp_path / "kubeconfig") as proxy:
        yield proxy


@pytest.fixture
def behind(line: Faulty, kube: Kubectl, tmp_path: Path) -> Iterator[OperatorProcess]:
    """An operator behind the proxy."""
    process = OperatorProcess(
        tmp_path / "kubeconfig", tmp_path / "operator.log", namespaces=(kube.namespace,)
    )
    process.start()
    yield process
    line.fault = None
    process.ensure()
    kube.run("delete", f"{EXPERIMENT},{UNIT}", "--all", "--timeout=120s")
    process.stop()
    print(process.tail(60))


def chain(name: str) -> dict[str, Any]:
    """An experiment of two tasks: `only`, then `next`."""
    return experiment(name, job("only", "true"), job("next", "true", after=[{"task": "only"}]))


def unit_phase(kube: Kubectl, name: str) -> str | None:
    """The phase of a unit."""
    return phase(kube.get(UNIT, name))


def runs(kube: Kubectl, name: str) -> Callable[[], bool]:
    """Whether the unit runs."""
    return lambda: unit_phase(kube, name) == "Running"


def gauge(operator: OperatorProcess, name: str) -> float:
    """The value of a metric without labels."""
    lines = operator.metrics().splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith(f"{name} ")), -1)


def strip(kube: Kubectl, kind: str, name: str) -> None:
    """Deletes an object by force, without waiting for who still has work to do on it."""
    kube.run("delete", kind, name, "--wait=false", "--cascade=background")
    patch = '{"metadata": {"finalizers": null}}'
    kube.result("patch", kind, name, "--type=merge", "-p", patch)
    eventually(lambda: kube.get(kind, name) is None, f"{kind} {name} is gone")


def about(line: Faulty, name: str) -> list[str]:
    """The requests so far whose path names the object."""
    return [f"{each.method} {each.path}" for each in line.requests if name in each.path.split("/")]


@pytest.mark.parametrize("kind", [UNIT, EXPERIMENT])
def test_t8_nothing_is_tried_for_ever_on_an_object_that_is_gone(
    kube: Kubectl, line: Faulty, behind: OperatorProcess, kind: str
) -> None:
    """T8: its finalizer stripped, it is deleted in the middle; the queue empties, and stays so."""
    name = "gone-only" if kind == UNIT else "gone"
    kube.apply(experiment("gone", job("only", "sleep 1000")))
    with Kubelet(kube, held={"only"}):
        eventually(runs(kube, "gone-only"), "the unit runs")
        strip(kube, kind, name)
        eventually(lambda: kube.get("job", "gone-only-1") is None, "the Job is gone")
        eventually(
            lambda: (
                gauge(behind, "runyard_queue_keys") == 0
                and gauge(behind, "runyard_queue_failing_keys") == 0
            ),
            "the queue is empty",
        )
        before = about(line, name)
        # Whatever was to be tried again would be by the time that another one has run.
        kube.apply(
            experiment("next", job("only", "true"), job("b", "true", after=[{"task": "only"}]))
        )
        eventually(runs(kube, "next-only"), "the next one runs")
    with Kubelet(kube):
        assert phase(finished(kube, "next")) == "Succeeded"
    assert about(line, name) == before
    if kind == UNIT:
        assert phase(finished(kube, "gone")) == "Cancelled"
    assert gauge(behind, "runyard_queue_failing_keys") == 0


def test_t9_a_job_that_its_ttl_deletes_is_not_made_again(
    kube: Kubectl, operator: OperatorProcess, cluster: Any
) -> None:
    """T9: the unit stays as it ended, through a restart of the operator as well."""
    kube.apply(experiment("ttl", job("one", "true"), job("two", "true")))
    with Kubelet(kube, held={"two"}) as kubelet:
        eventually(lambda: unit_phase(kube, "ttl-one") == "Succeeded", "the first has ended")
        ended = kube.get(UNIT, "ttl-one")
        patch = '{"spec": {"ttlSecondsAfterFinished": 0}}'
        kube.run("patch", "job", "ttl-one-1", "--type=merge", "-p", patch)
        eventually(lambda: kube.get("job", "ttl-one-1") is None, "the TTL has deleted the Job")
        operator.kill()
        operator.start()
        kubelet.held.clear()
        assert phase(finished(kube, "ttl")) == "Succeeded"
    after = kube.get(UNIT, "ttl-one")
    assert ended is not None
    assert after is not None
    assert after["status"] == ended["status"]
    made = audit.created(cluster.audit_log, kube.namespace, "jobs")
    assert made == {("jobs", "ttl-one-1"): 1, ("jobs", "ttl-two-1"): 1}


def foreign_job(name: str, labels: dict[str, str]) -> dict[str, Any]:
    """A Job that somebody else made."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {"suspend": True, "template": {"spec": pod}},
    }


def stalled(kube: Kubectl, unit: str) -> bool:
    """Whether the unit says that a name is taken."""
    found = (kube.get(UNIT, unit) or {}).get("status", {}).get("conditions", [])
    return any((each["type"], each["reason"]) == ("Stalled", "NameConflict") for each in found)


@pytest.mark.parametrize("end", ["cancel", "delete"])
@pytest.mark.parametrize("taken", ["job", "configmap"])
def test_t10_what_is_not_ours_is_never_touched(
    kube: Kubectl, operator: OperatorProcess, cluster: Any, taken: str, end: str
) -> None:
    """T10: a Job or ConfigMap of the wanted name is not adopted, changed or deleted, to the end.

    The same with a TrainJob is a check of the conformance suite.
    """
    if taken == "job":
        # Labels can be copied: they alone make nothing ours.
        kube.apply(foreign_job("mine-only-1", {LABEL_MANAGED_BY: "runyard", LABEL_UNIT_UID: "x"}))
        name = "mine-only-1"
    else:
        name = bundle_name(kube)
        kube.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name},
                "data": {"a": "b"},
            }
        )
    before = kube.get(taken, name)
    kube.apply(experiment("mine", job("only", SCRIPT)))
    eventually(lambda: stalled(kube, "mine-only"), "the unit is stalled")
    if end == "cancel":
        kube.run("patch", EXPERIMENT, "mine", "--type=merge", "-p", '{"spec": {"cancel": true}}')
        assert phase(finished(kube, "mine")) == "Cancelled"
    kube.run("delete", EXPERIMENT, "mine", "--timeout=120s")
    eventually(lambda: kube.get(UNIT, "mine-only") is None, "the unit is gone")
    # The Job controller, too, has its hands on a Job: on its status.
    assert _essence(kube.get(taken, name)) == _essence(before)


SCRIPT = "echo a script of T10"


def bundle_name(kube: Kubectl) -> str:
    """The name of the ConfigMap that holds the script of the test's task."""
    task = job("only", SCRIPT)
    target = make_target(kube, "probe", task="only", script=task["script"])
    scripts = stage(target).scripts
    assert scripts is not None
    kube.run("delete", UNIT, "probe")
    return scripts.name


def _essence(obj: dict[str, Any] | None) -> object:
    assert obj is not None
    metadata = {key: obj["metadata"].get(key) for key in ("uid", "labels", "annotations")}
    owners = obj["metadata"].get("ownerReferences")
    deleted = obj["metadata"].get("deletionTimestamp")
    return metadata, owners, deleted, obj.get("spec"), obj.get("data")


class Stale(HttpKubeApi):
    """The real client; its first looks at Jobs are as old as a cache may be."""

    looks = 0

    async def get(self, ref: Ref) -> Object | None:
        if ref.kind == "Job" and self.looks > 0:
            self.looks -= 1
            return None
        return await super().get(ref)


async def test_t12_a_stale_cache_makes_no_second_job(kube: Kubectl, cluster: Any) -> None:
    """T12: who sees no job yet creates it again; the name is taken, and the job is adopted."""
    config = PodConfig(image="testbed.local/operator:dev")
    client = Stale(await load_configuration(str(cluster.kubeconfig)))
    target = make_target(kube, "stale")
    first, _ = await JobBackend(client, Store(), config).submit(target)
    client.looks = 1
    jobs = JobBackend(client, Store(), config)
    assert (await jobs.observe(target, None)).state is State.ABSENT
    again, _ = await jobs.submit(target)
    assert again == first
    await client.close()
    made = audit.created(cluster.audit_log, kube.namespace, "jobs")
    assert made == {("jobs", "stale-1"): 1}


@pytest.mark.parametrize("status", [500, 503, 403, HANG])
def test_t13_an_error_of_a_look_up_is_no_answer(
    kube: Kubectl, line: Faulty, behind: OperatorProcess, cluster: Any, status: int
) -> None:
    """T13: nothing is ended, deleted or made anew because the API server could not say."""
    kube.apply(
        experiment("cut", job("only", "true"), job("next", "true", after=[{"task": "only"}]))
    )
    with Kubelet(kube, held={"only"}) as kubelet:
        eventually(runs(kube, "cut-only"), "the task runs")
        before = kube.get("job", "cut-only-1")
        line.fault = Fault(status, ("jobs", "pods"))
        # A cold start has nothing but the look-ups that fail.
        behind.kill()
        behind.start(wait_ready=False)
        # One that hangs is given up after a minute and a half only.
        needed = 1 if status == HANG else 4
        eventually(lambda: line.struck >= needed, "look-ups fail", explain=behind.tail)
        kubelet.held.clear()
        after = kube.get("job", "cut-only-1")
        assert before is not None
        assert after is not None
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert "deletionTimestamp" not in after["metadata"]
        assert unit_phase(kube, "cut-only") == "Running"
        line.fault = None
        assert phase(finished(kube, "cut", more=behind.tail)) == "Succeeded"
    found = kube.get(UNIT, "cut-only")
    assert found is not None
    assert len(found["status"]["attempts"]) == 1
    made = audit.created(cluster.audit_log, kube.namespace, "jobs")
    assert made == {("jobs", "cut-only-1"): 1, ("jobs", "cut-next-1"): 1}
    deleted = [
        each for each in line.requests if each.method == "DELETE" and "jobs" in each.path.split("/")
    ]
    assert deleted == []


async def test_t13_a_backend_concludes_nothing_from_an_error(
    kube: Kubectl, line: Faulty, tmp_path: Path, cluster: Any
) -> None:
    """T13: the job is neither gone nor made anew, whether it was there before or not."""
    config = PodConfig(image="testbed.local/operator:dev")
    client = HttpKubeApi(await load_configuration(str(tmp_path / "kubeconfig")))
    jobs = JobBackend(client, Store(), config)
    target, late = make_target(kube, "there"), make_target(kube, "late")
    handle, _ = await jobs.submit(target)
    for status in (403, 429, 500, 503, 504):
        line.fault = Fault(status, ("jobs", "pods"))
        assert (await jobs.observe(target, handle)).state is State.UNKNOWN
        assert (await jobs.observe(late, None)).state is State.UNKNOWN
        with pytest.raises((Unreachable, Stalled)):
            await jobs.cancel(late, None)
    # The job is seen, and whether its pods live is not.
    line.fault = Fault(503, ("pods",))
    assert (await jobs.observe(late, None)).state is State.UNKNOWN
    line.fault = None
    assert (await jobs.observe(target, handle)).state is State.WAITING
    await client.close()
    made = audit.created(cluster.audit_log, kube.namespace, "jobs")
    assert made == {("jobs", "there-1"): 1}


def test_t14_units_that_run_cost_no_lists(
    kube: Kubectl, line: Faulty, behind: OperatorProcess
) -> None:
    """T4, T14: running units are watched, by label, and not asked for, however often looked at."""
    count = 12
    tasks = [job(f"t{number}", "true") for number in range(count)]
    kube.apply(experiment("many", *tasks))
    names = {task["name"] for task in tasks}
    with Kubelet(kube, held=names) as kubelet:
        eventually(
            lambda: all(unit_phase(kube, f"many-{name}") == "Running" for name in names),
            "all run",
        )
        eventually(lambda: gauge(behind, "runyard_queue_keys") == 0, "the queue is empty")
        start, looked = len(line.requests), reconciles(behind)
        for name in sorted(names):
            kube.run("annotate", "job", f"many-{name}-1", "news=1")
        eventually(lambda: reconciles(behind) >= looked + count, "each unit is looked at again")
        asked = [each for each in line.requests[start:] if each.reads_once and ours(each.path)]
        assert asked == []
        kubelet.held.clear()
        assert phase(finished(kube, "many")) == "Succeeded"
    watches = [each for each in line.requests if "watch" in each.query and children(each.path)]
    assert watches
    assert all(LABEL_UNIT_UID in each.query.get("labelSelector", "") for each in watches)
    # At its end each unit reads its own pods afresh, for the exit code: once, and no others.
    lists = [each for each in line.requests[start:] if each.reads_once and children(each.path)]
    assert len(lists) <= count
    assert all(LABEL_UNIT_UID in each.query.get("labelSelector", "") for each in lists)


def reconciles(operator: OperatorProcess) -> int:
    """How many units have been looked at."""
    name = 'runyard_reconcile_seconds_count{kind="ExecutionUnit"}'
    lines = operator.metrics().splitlines()
    return next((int(float(line.split()[1])) for line in lines if line.startswith(name)), 0)


def children(path: str) -> bool:
    """Whether the path is of Jobs or pods."""
    return bool({"jobs", "pods"} & set(path.split("/")))


def ours(path: str) -> bool:
    """Whether the path is of Jobs, pods, units or experiments."""
    return children(path) or bool({"executionunits", "experiments"} & set(path.split("/")))
