"""Jobs with a queue in a cluster that has no Kueue: nothing starts by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from runyard_operator.backends import kueue
from runyard_operator.backends.base import Unreachable
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


CONFIG = PodConfig(image="testbed.local/operator:dev")


def deaf_webhook(namespace: str) -> dict[str, Any]:
    """Kueue's webhook for Jobs, for one namespace, when Kueue itself is down: no port is open."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": namespace},
        "webhooks": [
            {
                "name": "mjob.kb.io",
                "clientConfig": {"url": "https://127.0.0.1:1/mutate-batch-v1-job"},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "rules": [
                    {
                        "apiGroups": ["batch"],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["jobs"],
                    }
                ],
            }
        ],
    }


@pytest.fixture
async def api(cluster: Any) -> AsyncIterator[HttpKubeApi]:
    """A client of the test's cluster."""
    client = HttpKubeApi(await load_configuration(str(cluster.kubeconfig)))
    yield client
    await client.close()


async def test_a_job_with_a_queue_needs_kueue(api: HttpKubeApi, kube: Kubectl) -> None:
    """It waits, says what is missing, and neither a suspend nor a resume lets it run."""
    backend = JobBackend(api, Store(), CONFIG)
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


async def test_a_job_is_made_once_kueue_answers_again(api: HttpKubeApi, kube: Kubectl) -> None:
    """A webhook that nobody serves is no answer: the same submit is made again, and works."""
    backend = JobBackend(api, Store(), CONFIG)
    target = make_target(kube, "early", executor={"job": {"image": "x", "queueName": "team"}})
    kube.apply(deaf_webhook(kube.namespace))
    refused: list[Unreachable] = []

    async def is_refused() -> bool:
        # The API server learns of a webhook a moment after it was made.
        try:
            await backend.submit(target)
        except Unreachable as error:
            refused.append(error)
        else:
            kube.run("delete", "jobs", "--all")
        return bool(refused)

    try:
        await until(is_refused, "the webhook is asked")
    finally:
        kube.run("delete", "mutatingwebhookconfiguration", kube.namespace)
    assert 'failed calling webhook "mjob.kb.io"' in refused[0].message

    async def is_made() -> bool:
        try:
            await backend.submit(target)
        except Unreachable:
            return False
        return True

    await until(is_made, "the Job is made")
    assert [each["spec"]["suspend"] for each in kube.list("jobs")] == [True]
