"""Job, TrainJob and RayJob keep the contract of backends on a real API server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from runyard_operator.backends.incluster import InClusterBackend
from runyard_operator.backends.job.backend import JobBackend
from runyard_operator.backends.ray.backend import RayBackend
from runyard_operator.backends.trainjob.backend import TrainJobBackend
from runyard_operator.conformance import suite
from runyard_operator.kube import load_configuration
from testbed.artefacts import Artefacts
from tests.support import crds
from tests.support.incluster_harness import BadLine, InClusterHarness, TrainJobHarness
from tests.support.kubectl import Kubectl
from tests.support.ray_harness import CLUSTER, BorrowingHarness, RayHarness
from tests.support.waiting import eventually
from tests.unit.backends import field_plans
from tests.unit.backends.rendering import TORCH_RUNTIME

pytestmark = pytest.mark.integration

IMAGE = "testbed.local/worker:dev"
TRAINER = "manifests/trainer"
KUBERAY = "manifests/kuberay"


@pytest.fixture(scope="module")
def place(cluster: Any) -> Iterator[Kubectl]:
    """A namespace for all checks, with our CRDs; each check makes a unit of its own in it."""
    with crds.installed(cluster) as kube:
        yield kube


@pytest.fixture(scope="module")
def trainer(place: Kubectl) -> Iterator[None]:
    """The Trainer's own CRDs and its runtime for PyTorch; not its controller."""
    with Artefacts([TRAINER]) as built:
        base = built.path(TRAINER) / "base"
        crds = ("-k", str(base / "crds"))
        runtime = ("-f", str(base / "runtimes" / "torch_distributed.yaml"))
        place.run("apply", "--server-side", *crds)
        # kubectl cannot wait for a CRD that has no conditions yet.
        eventually(
            lambda: place.result("apply", "--server-side", *runtime).returncode == 0,
            "the runtime of the Trainer can be made",
        )
        yield
        # Other tests are about a cluster without the Trainer.
        place.run("delete", *runtime)
        place.run("delete", "--timeout=60s", *crds)


@pytest.fixture(scope="module")
def kuberay(place: Kubectl) -> Iterator[None]:
    """KubeRay's own CRDs; not its controller."""
    with Artefacts([KUBERAY]) as built:
        crds = ("-f", str(built.path(KUBERAY) / "crd" / "bases"))
        place.run("apply", "--server-side", *crds)
        eventually(
            lambda: place.result("get", "rayjobs.ray.io,rayclusters.ray.io").returncode == 0,
            "RayJobs are served",
        )
        yield
        place.run("delete", "--timeout=60s", *crds)


@pytest.fixture
async def api(cluster: Any) -> AsyncIterator[BadLine]:
    """A client of the test's cluster, on a line that obeys."""
    client = BadLine(await load_configuration(str(cluster.kubeconfig)))
    yield client
    await client.close()


def cases(backend: type[InClusterBackend]) -> tuple[suite.Check, ...]:
    """The checks that apply to the backend."""
    return suite.checks(can_suspend=backend.can_suspend)


@pytest.mark.parametrize("check", cases(JobBackend))
async def test_the_job_backend_conforms(
    check: suite.Check, place: Kubectl, api: BadLine, cluster: Any
) -> None:
    """One check on one real Job, whose pods the test moves."""
    executor = {"job": {"image": IMAGE}}
    harness = InClusterHarness(place, api, JobBackend, cluster.audit_log, executor)
    try:
        await check(harness)
    finally:
        harness.close()


@pytest.mark.usefixtures("trainer")
@pytest.mark.parametrize("check", cases(TrainJobBackend))
async def test_the_train_job_backend_conforms(
    check: suite.Check, place: Kubectl, api: BadLine, cluster: Any
) -> None:
    """One check on one real TrainJob, whose status the test writes."""
    executor = {"trainJob": {"image": IMAGE, "numNodes": 1}}
    await check(TrainJobHarness(place, api, TrainJobBackend, cluster.audit_log, executor))


@pytest.mark.usefixtures("kuberay")
@pytest.mark.parametrize("check", cases(RayBackend))
async def test_the_ray_backend_conforms(
    check: suite.Check, place: Kubectl, api: BadLine, cluster: Any
) -> None:
    """One check on one real RayJob, whose status the test writes."""
    executor = {"ray": {"image": IMAGE}}
    await check(RayHarness(place, api, RayBackend, cluster.audit_log, executor))


@pytest.mark.usefixtures("kuberay")
@pytest.mark.parametrize("check", suite.checks(can_suspend=False))
async def test_the_ray_backend_conforms_on_a_borrowed_cluster(
    check: suite.Check, place: Kubectl, api: BadLine, cluster: Any
) -> None:
    """The same for a job on a cluster of another unit, which cannot be suspended."""
    executor = {"ray": {"clusterFrom": {"task": CLUSTER, "unit": CLUSTER}}}
    await check(BorrowingHarness(place, api, RayBackend, cluster.audit_log, executor))


def every_field(executor: str) -> list[dict[str, Any]]:
    """The objects of a plan that has all fields of an executor."""
    own = {**field_plans.PODS, **field_plans.OWN[executor]}
    return list(field_plans.RENDER[executor]({**own, **_nested(executor)}).objects)


def _nested(executor: str) -> dict[str, Any]:
    listed = {"workerGroups"}
    return {
        name: [inner] if name in listed else inner
        for name, inner in field_plans.NESTED[executor].items()
    }


@pytest.mark.usefixtures("trainer", "kuberay")
@pytest.mark.parametrize("executor", field_plans.RENDER)
def test_every_field_is_known_to_the_api_server(
    place: Kubectl, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    """No name is misspelt in any object that is sent, and no value is of a wrong kind."""
    known = {key: each for key, each in TORCH_RUNTIME["spec"].items() if key != "fieldOfTheFuture"}
    monkeypatch.setattr(field_plans, "TORCH_RUNTIME", {**TORCH_RUNTIME, "spec": known})
    for each in every_field(executor):
        each["metadata"]["namespace"] = place.namespace
        command = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
        answer = place.result(*command, stdin=json.dumps(each))
        assert answer.returncode == 0, answer.stderr
