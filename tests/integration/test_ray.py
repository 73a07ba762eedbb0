"""executor.ray on a real API server: which cluster a job borrows, and what there may not be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from runyard_operator.backends.base import Refused, Stalled, Target
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.backends.ray.backend import RayBackend
from runyard_operator.engine import reasons
from runyard_operator.engine.observation import State
from runyard_operator.kube import HttpKubeApi, load_configuration
from runyard_operator.store import Store
from testbed.artefacts import Artefacts
from tests.support import crds
from tests.support.kubectl import Kubectl
from tests.support.targets import make_target, until
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

IMAGE = "testbed.local/worker:dev"
CLUSTER = "rayclusters.ray.io"
KUBERAY = "manifests/kuberay"
HEAD = {"template": {"spec": {"containers": [{"name": "c", "image": "x"}]}}, "rayStartParams": {}}


@pytest.fixture(scope="module")
def place(cluster: Any) -> Iterator[Kubectl]:
    """A namespace with our CRDs."""
    with crds.installed(cluster) as kube:
        yield kube


@pytest.fixture
async def rays(cluster: Any) -> AsyncIterator[RayBackend]:
    """The backend; with an empty cache it asks for everything."""
    client = HttpKubeApi(await load_configuration(str(cluster.kubeconfig)))
    yield RayBackend(client, Store(), PodConfig(image="testbed.local/operator:dev"))
    await client.close()


@pytest.fixture(scope="module")
def kuberay(place: Kubectl) -> Iterator[None]:
    """KubeRay's own CRDs; not its controller."""
    with Artefacts([KUBERAY]) as built:
        manifests = ("-f", str(built.path(KUBERAY) / "crd" / "bases"))
        place.run("apply", "--server-side", *manifests)
        eventually(
            lambda: place.result("get", f"rayjobs.ray.io,{CLUSTER}").returncode == 0,
            "RayJobs are served",
        )
        yield
        place.run("delete", "--timeout=60s", *manifests)


def say(place: Kubectl, name: str, **status: Any) -> None:
    """What KubeRay would write into the status of a cluster."""
    patch = json.dumps({"status": status})
    place.run("patch", CLUSTER, name, "--subresource=status", "--type=merge", "-p", patch)


def maker(place: Kubectl, name: str, attempt: int = 1) -> Target:
    """A task that makes a cluster."""
    block = {"image": IMAGE, "cluster": {}}
    return make_target(place, name, attempt, script=None, executor={"ray": block})


def user(place: Kubectl, name: str, **block: Any) -> Target:
    """A task that borrows one."""
    return make_target(place, name, executor={"ray": block})


def borrowed(place: Kubectl, name: str) -> str:
    """The cluster that a RayJob names."""
    job = place.get("rayjobs.ray.io", name)
    assert job is not None
    found: str = job["spec"]["clusterSelector"]["ray.io/cluster"]
    return found


async def test_without_kuberay_a_task_waits_for_it(place: Kubectl, rays: RayBackend) -> None:
    """An administrator can install it later; the message says so."""
    for target in (
        make_target(place, "early", executor={"ray": {"image": "x"}}),
        maker(place, "early-maker"),
        user(place, "early-user", clusterSelector={"a": "b"}),
    ):
        with pytest.raises(Stalled, match="install") as caught:
            await rays.submit(target)
        assert caught.value.reason == reasons.KUBERAY_NOT_INSTALLED
        assert (await rays.observe(target, None)).state is State.ABSENT
        await rays.cancel(target, None)


@pytest.mark.usefixtures("kuberay")
async def test_a_cluster_is_made_and_goes(place: Kubectl, rays: RayBackend) -> None:
    """It has been made when it is ready; a cancel deletes it."""
    target = maker(place, "made")
    handle, _ = await rays.submit(target)
    assert (handle.kind, handle.name) == ("RayCluster", "made-1")
    assert (await rays.observe(target, handle)).state is State.WAITING
    say(place, "made-1", state="ready", head={"serviceName": "made-1-head-svc"})
    seen = await rays.observe(target, None)
    assert (seen.state, seen.handle) == (State.SUCCEEDED, handle)
    assert seen.dashboard_url == (
        f"http://made-1-head-svc.{place.namespace}.svc.cluster.local:8265"
    )
    await rays.suspend(target, handle)
    found = place.get(CLUSTER, "made-1")
    assert found is not None
    assert not found["spec"].get("suspend")
    await rays.cancel(target, handle)

    async def gone() -> bool:
        return (await rays.observe(target, handle)).state is State.ABSENT

    await until(gone, "the cluster is gone")


@pytest.mark.usefixtures("kuberay")
async def test_the_cluster_of_the_latest_attempt_is_borrowed(
    place: Kubectl, rays: RayBackend
) -> None:
    """A first one may still be there, as one that another owner labelled alike."""
    for attempt in (1, 2):
        await rays.submit(maker(place, "shared", attempt))
    stranger = place.get(CLUSTER, "shared-2")
    assert stranger is not None
    labels = {**stranger["metadata"]["labels"], "runyard.dev/attempt": "9"}
    place.apply(
        {
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "metadata": {"name": "stranger", "labels": labels},
            "spec": {"headGroupSpec": HEAD},
        }
    )
    await rays.submit(user(place, "user", clusterFrom={"task": "shared", "unit": "shared"}))
    assert borrowed(place, "user-1") == "shared-2"


@pytest.mark.usefixtures("kuberay")
async def test_a_cluster_that_is_gone_is_not_waited_for(place: Kubectl, rays: RayBackend) -> None:
    """A plan can be shown; to run is refused."""
    target = user(place, "late", clusterFrom={"task": "lost", "unit": "lost"})
    (job,) = (await rays.plan(target)).objects
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": "lost-1"}
    with pytest.raises(Refused, match="of task 'lost' is not there any more") as caught:
        await rays.submit(target)
    assert caught.value.reason == reasons.RAY_CLUSTER_NOT_FOUND
    assert place.get("rayjobs.ray.io", "late-1") is None


@pytest.mark.usefixtures("kuberay")
async def test_a_selector_must_mean_one_cluster(place: Kubectl, rays: RayBackend) -> None:
    """None and two are both refused; the message names them."""
    target = user(place, "chooser", clusterSelector={"team": "a"})
    with pytest.raises(Refused, match="no RayCluster has the labels team=a"):
        await rays.submit(target)
    for name in ("first", "second"):
        place.apply(
            {
                "apiVersion": "ray.io/v1",
                "kind": "RayCluster",
                "metadata": {"name": name, "labels": {"team": "a", "which": name}},
                "spec": {"headGroupSpec": HEAD},
            }
        )
    with pytest.raises(Refused, match=r"several RayClusters have \(first, second\)"):
        await rays.submit(target)
    await rays.submit(user(place, "chosen", clusterSelector={"team": "a", "which": "second"}))
    assert borrowed(place, "chosen-1") == "second"
