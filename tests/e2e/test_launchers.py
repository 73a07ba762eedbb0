"""Launchers, gangs and artifacts with real pods."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from runyard_operator.backends.base import Target
from runyard_operator.backends.incluster import InClusterBackend
from runyard_operator.backends.job.backend import JobBackend
from runyard_operator.backends.pods.template import PodConfig
from runyard_operator.backends.trainjob.backend import TrainJobBackend
from runyard_operator.engine.observation import Observation, State
from runyard_operator.kube import HttpKubeApi, load_configuration
from runyard_operator.store import Store
from tests.support.experiments import WORKER
from tests.support.kubectl import Kubectl
from tests.support.targets import make_target, until

pytestmark = pytest.mark.e2e

OPERATOR = "testbed.local/operator:dev"
CONFIG = PodConfig(image=OPERATOR)
POD = {"image": WORKER, "imagePullPolicy": "IfNotPresent", "cpu": "50m"}
FOR_EVER = "trap 'exit 0' TERM; while :; do sleep 0.2; done"

# Rank 0 tells which node it runs on, what came as arguments, and the sum over all processes.
TRAIN = """
import os, pathlib, sys, urllib.request
import torch, torch.distributed as dist

dist.init_process_group("gloo")
total = torch.ones(1) * dist.get_rank()
dist.all_reduce(total)
if dist.get_rank() == 0:
    rank = os.environ["RUNYARD_NODE_RANK"]
    told = [f"{total.item():.0f} of {dist.get_world_size()} on node {rank}", *sys.argv[1:]]
    if "ASK" in os.environ:
        server = os.environ["RUNYARD_HOST_DATA_SERVER"]
        told.append(urllib.request.urlopen(f"http://{server}:8000/who").read().decode())
    if "MODEL" in os.environ:
        folder = pathlib.Path(os.environ["MODEL"])
        (folder / "shards").mkdir(parents=True)
        (folder / "a b.txt").write_text("text")
        (folder / "shards" / "0").write_bytes(bytes(1000))
        pathlib.Path(os.environ["RUNYARD_ARTIFACTS"], "remote").write_text(f"7 sha256:{'a' * 64}")
    pathlib.Path(os.environ["RUNYARD_OUTPUTS"], "told").write_text("|".join(told))
dist.destroy_process_group()
"""
SERVE = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{os.environ['RUNYARD_ROLE']} of {os.environ['RUNYARD_ROLES']}".encode())

http.server.HTTPServer(("", 8000), Handler).serve_forever()
"""
FILES = [{"path": "pkg/train.py", "content": TRAIN}, {"path": "serve.py", "content": SERVE}]


@pytest.fixture
async def api(cluster: Any) -> AsyncIterator[HttpKubeApi]:
    """A client of the test's cluster."""
    client = HttpKubeApi(await load_configuration(str(cluster.kubeconfig)))
    yield client
    await client.close()


async def submit(backend: InClusterBackend, kube: Kubectl, name: str, **spec: Any) -> Target:
    """Submits a unit with the code of this file."""
    target = make_target(kube, name, **{"code": {"inline": FILES}, **spec})
    await backend.submit(target)
    return target


async def end(backend: InClusterBackend, target: Target) -> Observation:
    """The last observation of an attempt."""
    found: list[Observation] = []

    async def look() -> bool:
        found.append(await backend.observe(target, None))
        return found[-1].state in (State.SUCCEEDED, State.FAILED)

    await until(look, f"{target.name} has ended")
    return found[-1]


def digest_of(files: dict[str, bytes]) -> str:
    """The digest of a folder, as the documentation defines it."""
    lines = sorted(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


async def test_a_job_of_two_nodes_trains_and_leaves_its_artifacts(
    kube: Kubectl, api: HttpKubeApi
) -> None:
    """Four processes meet by c10d at node 0, which has rank 0; a folder lies on a volume."""
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Mi"}},
            },
        }
    )
    block = {
        **POD,
        "nodes": 2,
        "ntasksPerNode": 2,
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
    }
    jobs = JobBackend(api, Store(), CONFIG)
    target = await submit(
        jobs,
        kube,
        "two",
        script={"module": "pkg.train", "args": ["$(RUNYARD_HEAD_ADDR)", "$(PATH) $$ 'a b'"]},
        launcher={"torchrun": {}},
        env=[{"name": "MODEL", "value": "/models/sft"}],
        outputs=[{"name": "told"}],
        artifacts=[
            {"name": "model", "path": "/models/sft"},
            {"name": "remote", "uri": "s3://models/sft"},
        ],
        executor={"job": block},
    )
    last = await end(jobs, target)
    assert last.state is State.SUCCEEDED, last
    assert last.outputs == (("told", "6 of 4 on node 0|two-1-0.two-1|$(PATH) $$ 'a b'"),)
    model, remote = last.artifacts
    files = {"a b.txt": b"text", "shards/0": bytes(1000)}
    assert (model.size_bytes, model.digest) == (1004, digest_of(files))
    assert (remote.uri, remote.size_bytes) == ("s3://models/sft", 7)


async def test_a_gang_of_roles_in_one_train_job(kube: Kubectl, api: HttpKubeApi) -> None:
    """Each role has pods of its own shape; they find each other; the leader alone decides."""
    trains = TrainJobBackend(api, Store(), CONFIG)
    roles = [
        {
            "name": "train",
            "numNodes": 2,
            "script": {"path": "pkg/train.py", "entrypoint": "python3"},
            "launcher": {"torchrun": {}},
            "env": [{"name": "ASK", "value": "data-server"}],
        },
        {
            "name": "data-server",
            "image": OPERATOR,
            "cpu": "20m",
            "memory": "64Mi",
            "script": {"path": "serve.py", "entrypoint": "/opt/runyard/bin/python"},
        },
        {"name": "lost", "script": {"inline": "exit 9", "entrypoint": "sh"}},
    ]
    target = await submit(
        trains,
        kube,
        "gang",
        script=None,
        group={"roles": roles, "successPolicy": "Leader"},
        outputs=[{"name": "told"}],
        executor={"trainJob": POD},
    )
    running: list[Observation] = []

    async def runs() -> bool:
        running.append(await trains.observe(target, None))
        return running[-1].state not in (State.WAITING, State.UNKNOWN)

    await until(runs, "the gang runs")
    pods = {
        (each["metadata"]["labels"]["runyard.dev/role"], each["spec"]["hostname"]): each["spec"]
        for each in kube.list("pods")
    }
    names = ["train", "train", "data-server", "lost"]
    assert sorted(role for role, _ in pods) == sorted(names)
    server = pods["data-server", "gang-1-r1-0-0"]["containers"][0]
    assert server["image"] == OPERATOR
    assert server["resources"]["limits"] == {"memory": "64Mi"}
    last = await end(trains, target)
    assert last.state is State.SUCCEEDED, last
    served = "data-server of train data-server lost"
    assert last.outputs == (("told", f"1 of 2 on node 0|{served}"),)


async def test_a_role_that_fails_ends_its_gang(kube: Kubectl, api: HttpKubeApi) -> None:
    """The leader would run for ever; the message names the role that failed."""
    trains = TrainJobBackend(api, Store(), CONFIG)
    scripts = {"lead": FOR_EVER, "bad": "echo no data; sleep 2; exit 3"}
    roles = [
        {"name": name, "script": {"inline": text, "entrypoint": "sh"}}
        for name, text in scripts.items()
    ]
    target = await submit(
        trains, kube, "bad", script=None, group={"roles": roles}, executor={"trainJob": POD}
    )
    last = await end(trains, target)
    assert (last.state, last.exit_code) == (State.FAILED, 3), last
    assert "role bad: exit code 3" in last.message
    assert last.last_log_lines == ("no data",)

    async def ended() -> bool:
        return not [e for e in kube.list("pods") if e["status"]["phase"] in ("Running", "Pending")]

    await until(ended, "the leader's pod is gone")
