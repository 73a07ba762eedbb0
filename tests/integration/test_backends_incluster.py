"""The in-cluster backends on a real API server: what exists afterwards, and whose it is."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runyard.api.constants import LABEL_UNIT_UID
from runyard.api.unit import Handle
from runyard_operator.backends.base import ForeignObject, Refused, Stalled, Target, Unreachable
from runyard_operator.backends.incluster import InClusterBackend
from runyard_operator.backends.job.backend import JobBackend
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.backends.trainjob.backend import TrainJobBackend
from runyard_operator.engine import reasons
from runyard_operator.engine.observation import State
from runyard_operator.kube import HttpKubeApi, Ref, load_configuration
from runyard_operator.kube.api import Object
from runyard_operator.kube.errors import Unavailable
from runyard_operator.store import Store
from tests.support.audit import created
from tests.support.kubectl import Kubectl
from tests.support.targets import make_target, until

pytestmark = pytest.mark.integration

CONFIG = PodConfig(image="testbed.local/operator:dev")
CODE = {"inline": [{"path": "pkg/a.py", "content": "print('a')\n"}]}


class LosingApi(HttpKubeApi):
    """The real client, on a line that loses the answers to the next creates."""

    lose = 0

    async def create(self, manifest: Object) -> Object:
        answer = await super().create(manifest)
        if self.lose > 0:
            self.lose -= 1
            raise Unavailable("the connection broke before the answer came")
        return answer


@pytest.fixture
async def api(cluster: Any) -> AsyncIterator[LosingApi]:
    """A client of the test's cluster."""
    client = LosingApi(await load_configuration(str(cluster.kubeconfig)))
    yield client
    await client.close()


@pytest.fixture
def jobs(api: LosingApi) -> JobBackend:
    """The backend under test; with an empty cache it asks the API server for everything."""
    return JobBackend(api, Store(), CONFIG)


async def gone(api: HttpKubeApi, ref: Ref) -> None:
    """Returns once the object is not there any more."""

    async def absent() -> bool:
        return await api.get(ref) is None

    await until(absent, f"{ref} is gone")


async def test_a_second_submit_adopts_the_first_ones_job(
    kube: Kubectl, jobs: JobBackend, cluster: Any
) -> None:
    """The same attempt, submitted twice and at once, makes one Job."""
    target = make_target(kube, "twice", code=CODE)
    first, again = await asyncio.gather(jobs.submit(target), jobs.submit(target))
    assert first == again
    assert await jobs.submit(target) == first
    made = created(cluster.audit_log, kube.namespace, "jobs")
    assert made == {("jobs", "twice-1"): 1}


async def test_a_lost_answer_is_no_reason_to_submit_twice(
    kube: Kubectl, jobs: JobBackend, api: LosingApi
) -> None:
    """The outcome is not known; the next call finds the job, and so does a look without handle."""
    target = make_target(kube, "lost")
    api.lose = 1
    with pytest.raises(Unreachable):
        await jobs.submit(target)
    seen = await jobs.observe(target, None)
    assert seen.state is State.WAITING
    handle, _ = await jobs.submit(target)
    assert handle == seen.handle


async def test_a_foreign_job_is_left_alone(kube: Kubectl, jobs: JobBackend) -> None:
    """A Job of the wanted name that is not ours is neither adopted, nor changed, nor deleted."""
    target = make_target(kube, "taken")
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}
    foreign = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "taken-1", "labels": {LABEL_UNIT_UID: target.uid}},
        "spec": {"suspend": True, "template": {"spec": pod}},
    }
    kube.apply(foreign)
    before = kube.get("job", "taken-1")
    with pytest.raises(ForeignObject, match="was not made for this unit") as caught:
        await jobs.submit(target)
    assert caught.value.reason == reasons.NAME_CONFLICT
    assert (await jobs.observe(target, None)).state is State.ABSENT
    await jobs.cancel(target, None)
    await jobs.cancel(target, Handle(kind="Job", name="taken-1", uid=str(uuid.uuid4())))
    await jobs.suspend(target, None)
    await jobs.resume(target, None)
    after = kube.get("job", "taken-1")
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"]
    assert after["metadata"] == before["metadata"]


def several(kube: Kubectl, name: str) -> Target:
    """An attempt with a Job of two nodes."""
    return make_target(kube, name, executor={"job": {"image": "testbed.local/x:1", "nodes": 2}})


async def test_the_service_of_several_nodes_is_made_once(
    kube: Kubectl, jobs: JobBackend, api: LosingApi, cluster: Any
) -> None:
    """Its answer may be lost as well as the Job's."""
    target = several(kube, "several")
    for _ in ("the Service", "the Job"):
        api.lose = 1
        with pytest.raises(Unreachable):
            await jobs.submit(target)
    handle, _ = await jobs.submit(target)
    assert handle == (await jobs.observe(target, None)).handle
    assert created(cluster.audit_log, kube.namespace, "jobs") == {("jobs", "several-1"): 1}
    (service,) = kube.list("services")
    assert service["metadata"]["name"] == "several-1"


async def test_a_foreign_service_keeps_the_job_from_being_made(
    kube: Kubectl, jobs: JobBackend
) -> None:
    """Its pods would answer to the names of ours."""
    target = several(kube, "named")
    kube.run("create", "service", "clusterip", "named-1", "--clusterip=None")
    with pytest.raises(ForeignObject, match="Service"):
        await jobs.submit(target)
    assert kube.get("job", "named-1") is None


async def test_the_next_attempt_is_another_job(kube: Kubectl, jobs: JobBackend) -> None:
    """Attempts do not see each other's jobs."""
    target = make_target(kube, "again")
    handle, _ = await jobs.submit(target)
    second = make_target(kube, "again", attempt=2)
    assert (await jobs.observe(second, None)).state is State.ABSENT
    other, _ = await jobs.submit(second)
    assert other.uid != handle.uid


async def test_units_share_their_code_until_the_last_is_gone(
    kube: Kubectl, jobs: JobBackend, api: LosingApi
) -> None:
    """One ConfigMap for the same files; the garbage collector deletes it with its last owner."""
    one = make_target(kube, "one", code=CODE)
    two = make_target(kube, "two", code=CODE)
    plan = await jobs.plan(one)
    ref = Ref.of(plan.bundles[0])
    await jobs.submit(one)
    await jobs.submit(two)
    await jobs.submit(two)
    stored = await api.get(ref)
    assert stored is not None
    assert {each["uid"] for each in stored["metadata"]["ownerReferences"]} == {one.uid, two.uid}
    kube.run("delete", "executionunits.runyard.dev", "one", "--wait=true", "--timeout=60s")

    async def only_two() -> bool:
        found = await api.get(ref)
        assert found is not None
        return [each["uid"] for each in found["metadata"]["ownerReferences"]] == [two.uid]

    await until(only_two, "the first owner is gone")
    kube.run("delete", "executionunits.runyard.dev", "two", "--wait=true", "--timeout=60s")
    await gone(api, ref)


async def test_a_config_map_with_other_content_is_not_taken_for_the_code(
    kube: Kubectl, jobs: JobBackend
) -> None:
    """A name that stands for some content must hold it: nothing is submitted otherwise."""
    target = make_target(kube, "swapped", code=CODE)
    wanted = (await jobs.plan(target)).bundles[0]
    name = wanted["metadata"]["name"]
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {}})
    with pytest.raises(ForeignObject, match="is not the code that its name stands for"):
        await jobs.submit(target)
    assert kube.get("job", "swapped-1") is None
    stored = kube.get("configmap", name)
    assert stored is not None
    assert "ownerReferences" not in stored["metadata"]


async def test_cancel_ends_in_absence(kube: Kubectl, jobs: JobBackend, api: LosingApi) -> None:
    """The job is deleted in the foreground, by its uid; a second cancel does no harm."""
    target = make_target(kube, "ended")
    handle, _ = await jobs.submit(target)
    await jobs.cancel(target, handle)
    await jobs.cancel(target, handle)
    await gone(api, Ref("batch/v1", "Job", handle.name, kube.namespace))

    async def absent() -> bool:
        return (await jobs.observe(target, handle)).state is State.ABSENT

    await until(absent, "the job is reported as absent")
    await jobs.cancel(target, handle)


async def test_a_cancel_without_a_handle_finds_the_job(
    kube: Kubectl, jobs: JobBackend, api: LosingApi
) -> None:
    """A delete during a submit whose answer was lost still ends the job."""
    target = make_target(kube, "unknown")
    handle, _ = await jobs.submit(target)
    await jobs.cancel(target, None)
    await gone(api, Ref("batch/v1", "Job", handle.name, kube.namespace))


async def test_a_job_of_ours_that_is_being_deleted_is_adopted(
    kube: Kubectl, jobs: JobBackend
) -> None:
    """Made anew, the attempt would run twice: its end is told instead."""
    target = make_target(kube, "dying")
    handle, _ = await jobs.submit(target)
    finalizers = '{"metadata": {"finalizers": ["runyard.dev/test"]}}'
    kube.run("patch", "job", "dying-1", "--type=merge", "-p", finalizers)
    kube.run("delete", "job", "dying-1", "--wait=false")
    again, _ = await jobs.submit(target)
    assert again == handle
    assert (await jobs.observe(target, handle)).state is State.TERMINATING
    kube.run("patch", "job", "dying-1", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


async def test_what_a_queue_manager_suspends_is_for_it_to_resume(
    kube: Kubectl, jobs: JobBackend
) -> None:
    """Only a suspend of our own is taken back."""
    target = make_target(kube, "queued")
    handle, _ = await jobs.submit(target)
    kube.run("patch", "job", "queued-1", "--type=merge", "-p", '{"spec": {"suspend": true}}')

    async def suspended() -> bool:
        return (await jobs.observe(target, handle)).reason == "Suspended"

    await until(suspended, "the Job is suspended")
    assert (await jobs.observe(target, handle)).state is State.WAITING
    await jobs.resume(target, handle)
    held = kube.get("job", "queued-1")
    assert held is not None
    assert held["spec"]["suspend"] is True
    await jobs.suspend(target, handle)

    async def ours() -> bool:
        return (await jobs.observe(target, handle)).state is State.SUSPENDED

    await until(ours, "it is suspended for us, too")
    await jobs.resume(target, handle)
    free = kube.get("job", "queued-1")
    assert free is not None
    assert free["spec"]["suspend"] is False


async def test_quota_is_waited_for(kube: Kubectl, jobs: JobBackend) -> None:
    """A full namespace is no failure of the task."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    }
    kube.apply(quota)
    kube.run(
        "wait", "--for=jsonpath={.status.hard.count/jobs\\.batch}=0", "quota/none", "--timeout=60s"
    )
    target = make_target(kube, "poor")
    with pytest.raises(Stalled) as caught:
        await jobs.submit(target)
    assert caught.value.reason == reasons.QUOTA_EXCEEDED
    kube.run("delete", "resourcequota", "none")

    async def submitted() -> bool:
        try:
            await jobs.submit(target)
        except Stalled:
            return False
        return True

    await until(submitted, "the unit goes on when there is quota")


async def test_what_the_api_server_finds_invalid_is_refused(
    kube: Kubectl, jobs: JobBackend
) -> None:
    """Repeating the request would not help; the API server's own words say why."""
    block = {"image": "x", "cpu": "2", "cpuLimit": "1"}
    target = make_target(kube, "invalid", executor={"job": block})
    with pytest.raises(Refused, match="must be less than or equal to cpu limit"):
        await jobs.submit(target)


async def test_an_api_server_that_is_not_there_is_unknown(kube: Kubectl, cluster: Any) -> None:
    """Nothing is concluded from silence."""
    configuration = await load_configuration(str(cluster.kubeconfig))
    configuration.host = "https://127.0.0.1:1"
    client = HttpKubeApi(configuration)
    jobs = JobBackend(client, Store(), CONFIG)
    target = make_target(kube, "silent")
    seen = await jobs.observe(target, None)
    assert (seen.state, seen.reason) == (State.UNKNOWN, reasons.UNREACHABLE)
    with pytest.raises(Unreachable):
        await jobs.submit(target)
    with pytest.raises(Unreachable):
        await jobs.cancel(target, None)
    await client.close()


async def test_without_the_trainer_a_train_job_waits_for_it(kube: Kubectl, api: LosingApi) -> None:
    """An administrator can install it later; the message says so."""
    trains: InClusterBackend = TrainJobBackend(api, Store(), CONFIG)
    target = make_target(kube, "early", executor={"trainJob": {"image": "x"}})
    with pytest.raises(Stalled, match="install") as caught:
        await trains.submit(target)
    assert caught.value.reason == reasons.TRAINER_NOT_INSTALLED
    assert (await trains.observe(target, None)).state is State.ABSENT
    await trains.cancel(target, None)
