"""Whether the managers' webhooks really answer, found out by asking them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testbed.kubeapi import Answer, KubeApi
from testbed.ml.overlays import QUEUE_LABEL
from testbed.waiting import until

_POD = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none"}]}

JOBSET: Mapping[str, Any] = {
    "apiVersion": "jobset.x-k8s.io/v1alpha2",
    "kind": "JobSet",
    "metadata": {"name": "testbed-probe"},
    "spec": {"replicatedJobs": [{"name": "a", "template": {"spec": {"template": {"spec": _POD}}}}]},
}

TRAINJOB: Mapping[str, Any] = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "TrainJob",
    "metadata": {"name": "testbed-probe"},
    "spec": {"runtimeRef": {"name": "torch-distributed"}},
}

# Labelled, so that Kueue is asked about it.
QUEUED_JOB: Mapping[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "testbed-probe", "labels": {QUEUE_LABEL: "none"}},
    "spec": {"template": {"spec": _POD}},
}

_JOBSETS = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/default/jobsets?dryRun=All"
_JOBS = "/apis/batch/v1/namespaces/default/jobs?dryRun=All"
_TRAINJOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/default/trainjobs?dryRun=All"


def webhook_spoke(answer: Answer) -> bool:
    """Tell whether a webhook decided: an unreachable one makes the API server answer 5xx.

    404 means that the kind itself is not served yet, 409 and 422 are decisions.
    """
    return answer.ok or answer.status in (400, 403, 409, 422)


def wait_jobset(api: KubeApi, seconds: float = 120.0) -> None:
    """Wait until a JobSet can be created. Raises ClusterError with the last answer."""
    _wait(api, _JOBSETS, JOBSET, seconds)


def wait_trainjob(api: KubeApi, seconds: float = 120.0) -> None:
    """Wait until a TrainJob can be created. Raises ClusterError with the last answer."""
    _wait(api, _TRAINJOBS, TRAINJOB, seconds)


def wait_kueue(api: KubeApi, seconds: float = 120.0) -> None:
    """Wait until a job with a queue can be created. Raises ClusterError with the last answer."""
    _wait(api, _JOBS, QUEUED_JOB, seconds)


def _wait(api: KubeApi, path: str, manifest: Mapping[str, Any], seconds: float) -> None:
    last = Answer(0, "not asked yet")

    def spoke() -> bool:
        nonlocal last
        last = api.request("POST", path, manifest)
        return webhook_spoke(last)

    def complaint() -> str:
        return (
            f"the webhook for {manifest['kind']} does not answer after {seconds:.0f} s "
            f"({last.status}: {last.body[:400]}); see `kubectl get pods -A`"
        )

    until(spoke, seconds, complaint, pause=0.2)
