"""Jobs with a queue in a cluster that has no Kueue: nothing starts by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from runyard_operator.backends import kueue
from runyard_operator.backends.job.backend import JobBackend
from runyard_operator.backends.pods.labels import ANNOTATION_SUSPENDED
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.engine import reasons
from runyard_operator.engine.observation import State
from runyard_operator.kube import HttpKubeApi, load_configuration
from runyard_operator.store import Store
from tests.support.kubectl import Kubectl
from tests.support.targets import make_target, until

pytestmark = pytest.mark.integration


@pytest.fixture
async def api(cluster: Any) -> AsyncIterator[HttpKubeApi]:
    """A client of the test's cluster."""
    client = HttpKubeApi(await load_configuration(str(cluster.kubeconfig)))
    yield client
    await client.close()


async def test_a_job_with_a_queue_needs_kueue(api: HttpKubeApi, kube: Kubectl) -> None:
    """It waits, says what is missing, and neither a suspend nor a resume lets it run."""
    backend = JobBackend(api, Store(), PodConfig(image="testbed.local/operator:dev"))
    block = {"image": "x", "queueName": "team", "workloadPriorityClass": "high"}
    target = make_target(kube, "queued", executor={"job": block})
    handle, _ = await backend.submit(target)

    def job() -> Any:
        return kube.get("jobs", handle.name)

    labels = job()["metadata"]["labels"]
    assert (labels[kueue.QUEUE], labels[kueue.PRIORITY]) == ("team", "high")
    assert not {kueue.QUEUE, kueue.PRIORITY} & set(job()["spec"]["template"]["metadata"]["labels"])
    seen = await backend.observe(target, handle)
    assert (seen.state, seen.reason) == (State.WAITING, reasons.KUEUE_NOT_INSTALLED)
    assert "'team' needs Kueue" in seen.message
    assert seen.queued

    await backend.suspend(target, handle)

    async def suspended() -> bool:
        return (await backend.observe(target, handle)).state is State.SUSPENDED

    await until(suspended, "the Job is suspended")
    await backend.resume(target, handle)
    assert ANNOTATION_SUSPENDED not in job()["metadata"]["annotations"]
    assert job()["spec"]["suspend"] is True
    assert (await backend.observe(target, handle)).reason == reasons.KUEUE_NOT_INSTALLED
