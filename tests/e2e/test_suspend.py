"""Suspending what runs, with real pods: they go away, and the same attempt runs again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from runyard_operator.backends.base import Target
from runyard_operator.backends.incluster import InClusterBackend
from runyard_operator.backends.job.backend import JobBackend
from runyard_operator.backends.pods.labels import selector
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.backends.trainjob.backend import TrainJobBackend
from runyard_operator.engine.observation import State
from runyard_operator.kube import HttpKubeApi, load_configuration
from runyard_operator.store import Store
from tests.support.experiments import EXPERIMENT, UNIT, WORKER, experiment, finished, job, phase
from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess
from tests.support.targets import make_target, until
from tests.support.waiting import eventually

pytestmark = pytest.mark.e2e

CONFIG = PodConfig(image="testbed.local/operator:dev")
# It ends well in the second life only, and no pod of the first may be there then.
SCRIPT = """
trap 'sleep 2; exit 1' TERM
python3 -c 'import pkg.mod' || exit 2
until [ -e /shared/go ]; do sleep 0.1; done
"""


@pytest.fixture
async def api(cluster: Any) -> AsyncIterator[HttpKubeApi]:
    """A client of the test's cluster."""
    client = HttpKubeApi(await load_configuration(str(cluster.kubeconfig)))
    yield client
    await client.close()


async def seen(backend: InClusterBackend, target: Target, *states: State) -> None:
    """Returns once the attempt is observed in one of the states."""

    async def look() -> bool:
        return (await backend.observe(target, None)).state in states

    await until(look, f"{target.name} is {states}")


def block(**more: Any) -> dict[str, Any]:
    """The executor's fields: a folder that two lives of a pod share."""
    return {
        "image": WORKER,
        "imagePullPolicy": "IfNotPresent",
        "cpu": "50m",
        "volumes": [{"name": "shared", "configMap": {"name": "shared"}}],
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
        **more,
    }


@pytest.mark.parametrize("kind", ["job", "trainJob"])
async def test_a_suspended_attempt_gives_up_its_pods_and_runs_again(
    kube: Kubectl, api: HttpKubeApi, kind: str
) -> None:
    """Suspended is said when no pod runs; the resumed one is the same object, and succeeds."""
    more: dict[str, Any] = {} if kind == "job" else {"numNodes": 2}
    kube.run("create", "configmap", "shared")
    backend = (JobBackend if kind == "job" else TrainJobBackend)(api, Store(), CONFIG)
    target = make_target(
        kube,
        "pausing",
        script={"inline": SCRIPT, "entrypoint": "sh"},
        code={"inline": [{"path": "pkg/mod.py", "content": ""}]},
        executor={kind: block(**more)},
    )
    handle, _ = await backend.submit(target)
    await seen(backend, target, State.RUNNING)
    first = {each["metadata"]["uid"] for each in kube.list("pods", selector(target))}
    await backend.suspend(target, handle)
    await seen(backend, target, State.SUSPENDED)
    left = kube.list("pods", selector(target))
    assert all(each["status"]["phase"] == "Failed" for each in left), left
    kube.run("patch", "configmap", "shared", "--type=merge", "-p", '{"data": {"go": "1"}}')
    await backend.resume(target, handle)
    await seen(backend, target, State.SUCCEEDED, State.FAILED)
    end = await backend.observe(target, handle)
    assert end.state is State.SUCCEEDED, end
    assert end.handle == handle
    assert not first & {each["metadata"]["uid"] for each in kube.list("pods", selector(target))}


def suspended(kube: Kubectl, unit: str, wanted: str) -> bool:
    """Whether the unit's condition Suspended has that status."""
    found = (kube.get(UNIT, unit) or {}).get("status", {}).get("conditions", [])
    return any((each["type"], each["status"]) == ("Suspended", wanted) for each in found)


def test_an_experiment_is_suspended_and_resumed(kube: Kubectl, operator: OperatorProcess) -> None:
    """The running task gives up its pod, the next one waits, and both succeed in one attempt."""
    assert operator
    kube.run("create", "configmap", "shared")
    task = job("long", SCRIPT.replace("python3 -c 'import pkg.mod' || exit 2", ""))
    task["executor"]["job"].update(block())
    kube.apply(experiment("pause", task, job("then", "true", after=[{"task": "long"}])))
    eventually(lambda: phase(kube.get(UNIT, "pause-long")) == "Running", "the task runs")

    def suspend(wish: str) -> None:
        patch = f'{{"spec": {{"suspend": {wish}}}}}'
        kube.run("patch", EXPERIMENT, "pause", "--type=merge", "-p", patch)

    suspend("true")
    eventually(lambda: suspended(kube, "pause-long", "True"), "the unit is suspended")
    assert all(each["status"]["phase"] == "Failed" for each in kube.list("pods"))
    assert phase(kube.get(UNIT, "pause-long")) not in ("Running", "Failed", "Cancelled")
    kube.run("patch", "configmap", "shared", "--type=merge", "-p", '{"data": {"go": "1"}}')
    suspend("false")
    assert phase(finished(kube, "pause")) == "Succeeded"
    unit = kube.get(UNIT, "pause-long")
    assert unit is not None
    assert [each["number"] for each in unit["status"]["attempts"]] == [1]


def test_a_suspended_experiment_can_be_cancelled(kube: Kubectl, operator: OperatorProcess) -> None:
    """Its Job, which holds no pod, is deleted as always."""
    assert operator
    kube.apply(experiment("drop", job("long", "sleep 1000")))
    eventually(lambda: phase(kube.get(UNIT, "drop-long")) == "Running", "the task runs")
    kube.run("patch", EXPERIMENT, "drop", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    eventually(lambda: suspended(kube, "drop-long", "True"), "the unit is suspended")
    kube.run("patch", EXPERIMENT, "drop", "--type=merge", "-p", '{"spec": {"cancel": true}}')
    assert phase(finished(kube, "drop")) == "Cancelled"
    assert kube.list("jobs") == []
