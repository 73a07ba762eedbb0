"""The in-cluster backends with real pods: code, environment, outputs, ends and their reasons."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from runyard.api.policy import FailureClass
from runyard.api.unit import Handle
from runyard_operator.backends.base import Refused, Target
from runyard_operator.backends.incluster import InClusterBackend
from runyard_operator.backends.job.backend import JobBackend
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.backends.trainjob.backend import TrainJobBackend
from runyard_operator.engine import reasons
from runyard_operator.engine.observation import Observation, State
from runyard_operator.kube import HttpKubeApi, load_configuration
from runyard_operator.store import Store
from tests.support.experiments import WORKER
from tests.support.kubectl import Kubectl
from tests.support.targets import make_target, until

pytestmark = pytest.mark.e2e

CONFIG = PodConfig(image="testbed.local/operator:dev")
ENDED = (State.SUCCEEDED, State.FAILED)

Submitted = tuple[InClusterBackend, Target, Handle]


@pytest.fixture
async def api(cluster: Any) -> AsyncIterator[HttpKubeApi]:
    """A client of the test's cluster."""
    client = HttpKubeApi(await load_configuration(str(cluster.kubeconfig)))
    yield client
    await client.close()


def pod(**fields: Any) -> dict[str, Any]:
    """The executor fields of the tests."""
    return {"image": WORKER, "imagePullPolicy": "IfNotPresent", "cpu": "50m", **fields}


async def submit(
    api: HttpKubeApi, kube: Kubectl, name: str, text: str = "true", **spec: Any
) -> Submitted:
    """Submits a unit; a Job unless `spec` says otherwise."""
    whole = {
        "script": {"inline": text, "entrypoint": "sh"},
        "executor": {"job": pod()},
        **spec,
    }
    target = make_target(kube, name, **whole)
    trains = "trainJob" in whole["executor"]
    backend = (TrainJobBackend if trains else JobBackend)(api, Store(), CONFIG)
    handle, _ = await backend.submit(target)
    return backend, target, handle


async def seen(submitted: Submitted, *states: State, reason: str | None = None) -> Observation:
    """The first observation in one of the states, with the reason if one is given."""
    backend, target, handle = submitted
    found: list[Observation] = []

    async def look() -> bool:
        found.append(await backend.observe(target, handle))
        return found[-1].state in states and reason in (None, found[-1].reason)

    await until(look, f"{target.name} is {states} {reason or ''}")
    return found[-1]


async def test_a_job_finds_its_code_and_gives_its_outputs(kube: Kubectl, api: HttpKubeApi) -> None:
    """Files with sub-paths, importable, in folders that are open; arguments are literal."""
    script = """
    python3 -c 'import pkg.mod' && touch pkg/new new && test "$PWD" = /nemo_run/code || exit 1
    echo "$RUNYARD_UNIT/$RUNYARD_ATTEMPT $1 größe" > "$RUNYARD_OUTPUTS/rows"
    """
    submitted = await submit(
        api,
        kube,
        "code",
        script={"inline": script, "entrypoint": "sh", "args": ["$(RUNYARD_UNIT) $$"]},
        code={"inline": [{"path": "pkg/mod.py", "content": ""}]},
        outputs=[{"name": "rows"}],
    )
    end = await seen(submitted, *ENDED)
    assert end.state is State.SUCCEEDED, end
    assert end.outputs == (("rows", "code/1 $(RUNYARD_UNIT) $$ größe"),)
    assert end.start_time is not None
    assert end.completion_time is not None
    assert end.node


async def test_ends_are_told_apart(kube: Kubectl, api: HttpKubeApi) -> None:
    """The task's own error, missing outputs, a missing program, too little memory."""
    logs = "for i in $(seq 30); do echo line $i; done; exit 3"
    # The shell outlives its child: containerd learns of the end and of the lack of memory on two
    # ways, and says "Error" when the end of the whole container comes first.
    greedy = "python3 -c 'x = bytearray(400 * 1024 * 1024)'; code=$?; sleep 3; exit $code"
    error = await submit(api, kube, "error", logs)
    missing = await submit(api, kube, "missing", "echo ok", outputs=[{"name": "rows"}])
    binary = await submit(
        api, kube, "binary", "printf '\\377' > $RUNYARD_OUTPUTS/rows", outputs=[{"name": "rows"}]
    )
    program = await submit(api, kube, "program", script={"path": "x", "entrypoint": "none"})
    memory = await submit(api, kube, "memory", greedy, executor={"job": pod(memory="64Mi")})

    end = await seen(error, *ENDED)
    assert (end.reason, end.exit_code) == ("Error", 3)
    assert end.last_log_lines == tuple(f"line {number}" for number in range(11, 31))
    end = await seen(missing, *ENDED)
    assert end.reason == reasons.OUTPUTS_MISSING
    assert "ok" in end.last_log_lines  # anywhere: standard output and error have no common order
    end = await seen(binary, *ENDED)
    assert (end.state, end.reason) == (State.FAILED, reasons.OUTPUTS_MISSING)
    assert "UTF-8" in end.message
    end = await seen(program, *ENDED)
    assert end.failure_class is FailureClass.LAUNCH_FAILED
    assert '"none": executable file not found' in end.message
    end = await seen(memory, *ENDED)
    assert end.failure_class is FailureClass.OUT_OF_MEMORY


async def test_a_job_that_cannot_start_says_why(kube: Kubectl, api: HttpKubeApi) -> None:
    """It keeps waiting, since each of these can be put right; then it runs."""
    secret = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "later", "key": "k"}}}
    code = {"configMap": {"name": "later"}}
    image = pod(image="testbed.local/none:1", imagePullPolicy="Never")
    env = await submit(api, kube, "env", env=[secret])
    mount = await submit(api, kube, "mount", code=code)
    never = await submit(api, kube, "never", executor={"job": image})
    large = await submit(api, kube, "large", executor={"job": pod(cpu="500")})

    found = await seen(env, State.WAITING, reason="CreateContainerConfigError")
    assert 'secret "later" not found' in found.message
    found = await seen(mount, State.WAITING, reason="FailedMount")
    assert 'configmap "later" not found' in found.message
    await seen(never, State.WAITING, reason="ErrImageNeverPull")
    found = await seen(large, State.WAITING, reason="Unschedulable")
    assert "Insufficient cpu" in found.message

    kube.run("create", "secret", "generic", "later", "--from-literal=k=v")
    assert (await seen(env, *ENDED)).state is State.SUCCEEDED


async def test_nodes_train_together_and_rank_0_reports(kube: Kubectl, api: HttpKubeApi) -> None:
    """The wiring of torchrun, our environment and the task's reach every pod of a TrainJob."""
    train = """
import os, torch, torch.distributed as dist
import pkg.mod
dist.init_process_group("gloo")
total = torch.ones(1) * (dist.get_rank() + int(os.environ["OFFSET"]))
dist.all_reduce(total)
if dist.get_rank() == 0:
    with open(os.environ["RUNYARD_OUTPUTS"] + "/total", "w") as file:
        file.write(f"{total.item()} of {dist.get_world_size()}")
dist.destroy_process_group()
"""
    files = [{"path": "train.py", "content": train}, {"path": "pkg/mod.py", "content": ""}]
    submitted = await submit(
        api,
        kube,
        "train",
        script={"path": "train.py", "entrypoint": "python3"},
        launcher={"torchrun": {}},
        code={"inline": files},
        env=[{"name": "OFFSET", "value": "10"}],
        outputs=[{"name": "total"}],
        executor={"trainJob": pod(numNodes=2, nprocsPerNode=1)},
    )
    end = await seen(submitted, *ENDED)
    assert end.state is State.SUCCEEDED, end
    assert end.outputs == (("total", "21.0 of 2"),)


async def test_a_train_job_that_is_cancelled_leaves_no_pod(kube: Kubectl, api: HttpKubeApi) -> None:
    """The task hears SIGTERM through the wrapper, and absence is told once the pods are gone."""
    script = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
    submitted = await submit(
        api,
        kube,
        "stopped",
        script,
        outputs=[{"name": "x"}],
        executor={"trainJob": pod(numNodes=2)},
    )
    backend, target, handle = submitted
    await seen(submitted, State.RUNNING)
    await backend.cancel(target, handle)
    await seen(submitted, State.ABSENT)
    assert kube.list("pods,jobs,trainjobs") == []


async def test_the_trainers_own_refusal_is_final(kube: Kubectl, api: HttpKubeApi) -> None:
    """The webhook's words reach the user."""
    with pytest.raises(Refused, match="PET_NNODES"):
        await submit(
            api,
            kube,
            "reserved",
            env=[{"name": "PET_NNODES", "value": "3"}],
            executor={"trainJob": pod()},
        )
