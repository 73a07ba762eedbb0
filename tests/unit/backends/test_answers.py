"""What refusals of the API server mean."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from runyard_operator.backends.answers import to_backend_error
from runyard_operator.backends.base import BackendError, Refused, Stalled, Unreachable
from runyard_operator.backends.trainjob.backend import TrainJobBackend
from runyard_operator.engine import reasons
from runyard_operator.kube.api import KubeApi, Object
from runyard_operator.kube.client import HttpKubeApi
from runyard_operator.kube.errors import (
    Conflict,
    Forbidden,
    Invalid,
    KubeError,
    NotFound,
    Unavailable,
)
from runyard_operator.kube.resources import Ref
from runyard_operator.store import Store
from tests.unit.backends.rendering import TORCH_RUNTIME
from tests.unit.backends.samples import CONFIG, target, train_spec

JOB = Ref("batch/v1", "Job", "a-1", "team-a")
QUOTA = 'jobs.batch "a-1" is forbidden: exceeded quota: few, requested: count/jobs.batch=1'
WEBHOOK = 'admission webhook "v.example" denied the request: no'
POLICY = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"
RBAC = 'jobs.batch is forbidden: User "u" cannot create resource "jobs" in API group "batch"'


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (Unavailable("timed out"), Unreachable, reasons.UNREACHABLE),
        (Conflict("the object has been modified", status=409), Unreachable, reasons.UNREACHABLE),
        (KubeError("teapot", status=418), Unreachable, reasons.UNREACHABLE),
        (Forbidden("Unauthorized", status=401), Unreachable, reasons.UNREACHABLE),
        (Forbidden(QUOTA, status=403), Stalled, reasons.QUOTA_EXCEEDED),
        (Forbidden(RBAC, status=403), Stalled, reasons.FORBIDDEN),
        (Forbidden(WEBHOOK, status=403), Refused, reasons.REFUSED),
        (Forbidden(POLICY, status=403), Refused, reasons.REFUSED),
        (Invalid("spec.x: Required value", status=422), Refused, reasons.REFUSED),
        (NotFound('namespaces "team-a" not found', status=404), Stalled, reasons.REFUSED),
    ],
)
def test_answers_are_told_apart(error: KubeError, kind: type[BackendError], reason: str) -> None:
    """Only a clear and lasting no ends the attempt; the server's words are kept."""
    found = to_backend_error(error, JOB)
    assert type(found) is kind
    assert found.reason == reason
    assert str(error) in found.message


class ScriptedApi(HttpKubeApi):
    """Answers from lists instead of from a server: what a slow webhook says cannot be had on
    demand from a real one."""

    def __init__(self, creates: list[KubeError], source: Object | None = TORCH_RUNTIME) -> None:
        self.creates = creates
        self.source = source
        self.made: list[Object] = []

    async def get(self, ref: Ref) -> Object | None:
        return copy.deepcopy(self.source)

    async def list(self, api_version: str, kind: str, **_: Any) -> list[Object]:
        metadata = {"name": "torch-distributed"}
        ours = {"name": "a-1", "labels": {"app.kubernetes.io/managed-by": "runyard"}}
        return [{"kind": kind, "metadata": metadata}, {"kind": kind, "metadata": ours}]

    async def create(self, manifest: Object) -> Object:
        if manifest["kind"] == "TrainJob" and self.creates:
            raise self.creates.pop(0)
        self.made.append(manifest)
        return {**manifest, "metadata": {**manifest["metadata"], "uid": "t-1"}}


NOT_SEEN = Forbidden(
    'admission webhook "validator.trainjob.trainer.kubeflow.org" denied the request:'
    " spec.RuntimeRef: Invalid value: not found: specified trainingRuntime must be created before"
    " the TrainJob is created",
    status=403,
)


def backend(api: KubeApi) -> tuple[TrainJobBackend, list[float]]:
    """The backend, and the pauses that it makes."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    return TrainJobBackend(api, Store(), CONFIG, sleep=sleep), pauses


async def test_a_trainer_that_has_not_seen_the_runtime_yet_is_asked_again() -> None:
    """Its webhook reads a cache: a refusal for that is no verdict on the task."""
    api = ScriptedApi([NOT_SEEN, NOT_SEEN])
    trains, pauses = backend(api)
    handle, _ = await trains.submit(target(train_spec()))
    assert handle.kind == "TrainJob"
    assert [each["kind"] for each in api.made] == ["TrainingRuntime", "TrainJob"]
    assert len(pauses) == 2


async def test_a_trainer_that_never_sees_the_runtime_is_unreachable() -> None:
    """The wait inside one submit is bounded."""
    trains, pauses = backend(ScriptedApi([NOT_SEEN] * 99))
    with pytest.raises(Unreachable, match="does not see the training runtime"):
        await trains.submit(target(train_spec()))
    assert sum(pauses) < 5


async def test_another_refusal_of_the_trainer_is_final() -> None:
    """For example reserved environment variables."""
    trains, pauses = backend(ScriptedApi([Forbidden(WEBHOOK, status=403)]))
    with pytest.raises(Refused, match="denied the request"):
        await trains.submit(target(train_spec()))
    assert pauses == []


async def test_a_runtime_that_is_not_there_is_refused_with_those_that_are() -> None:
    """The runtimes that Runyard made for its own attempts are not on offer."""
    block = {"image": "x", "runtime": "tourch"}
    trains, _ = backend(ScriptedApi([], source=None))
    with pytest.raises(Refused) as caught:
        await trains.submit(target(train_spec(executor={"trainJob": block})))
    assert caught.value.reason == reasons.RUNTIME_NOT_FOUND
    assert "ClusterTrainingRuntime 'tourch' does not exist" in caught.value.message
    assert (
        "(ClusterTrainingRuntime/torch-distributed, TrainingRuntime/torch-distributed)"
        in caught.value.message
    )
