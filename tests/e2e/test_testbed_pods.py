"""The testbed's levels node and ml: real pods, real training, faults in between."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from testbed.build import image_ref
from testbed.cluster import Cluster, start_cluster
from testbed.errors import ClusterError

pytestmark = pytest.mark.e2e

WORKER = image_ref("image/worker")
SMALL = {"requests": {"cpu": "50m", "memory": "64Mi"}}
LONG = "--timeout=300s"


def _apply(cluster: Cluster, namespace: str, *manifests: dict[str, Any]) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    cluster.kubectl("-n", namespace, "apply", "-f", "-", text=json.dumps(items))


def _pod(name: str, script: str, **spec: Any) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": WORKER,
        "command": ["bash", "-euc", script],
        "resources": SMALL,
        "volumeMounts": spec.pop("mounts", []),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            **spec,
        },
    }


def _await_success(cluster: Cluster, namespace: str, pod: str) -> str:
    phase = "--for=jsonpath={.status.phase}=Succeeded"
    cluster.kubectl("-n", namespace, "wait", f"pod/{pod}", phase, LONG)
    return cluster.kubectl("-n", namespace, "logs", pod)


def test_pods_find_each_other_by_name_and_share_a_volume(cluster: Cluster, namespace: str) -> None:
    """DNS, services, logs and dynamically provisioned volumes work."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    volume: dict[str, Any] = {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "mounts": [{"name": "data", "mountPath": "/data"}],
    }
    serve = "echo by-the-web > /data/page; cd /data; exec python3 -m http.server 8080"
    fetch = "until wget -qO- http://web/page; do sleep 0.5; done; cat /data/page"
    _apply(cluster, namespace, claim, service, _pod("web", serve, **volume))
    cluster.kubectl("-n", namespace, "wait", "pod/web", "--for=condition=Ready", LONG)
    _apply(cluster, namespace, _pod("client", fetch, **volume))
    assert _await_success(cluster, namespace, "client") == "by-the-web\nby-the-web\n"
    assert cluster.kubectl("-n", namespace, "exec", "web", "--", "cat", "/data/page")


_ALL_REDUCE = """\
import torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([float(dist.get_rank())])
dist.all_reduce(total)
line = f"rank {dist.get_rank()} of {dist.get_world_size()}: {total.item():.0f}"
print(line + "\\n", end="", flush=True)
dist.destroy_process_group()
"""


def _all_reduce_job() -> tuple[dict[str, Any], dict[str, Any]]:
    code = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "code"},
        "data": {"train.py": _ALL_REDUCE},
    }
    pod = {
        "volumes": [{"name": "code", "configMap": {"name": "code"}}],
        "containers": [{"name": "node", "volumeMounts": [{"name": "code", "mountPath": "/code"}]}],
    }
    job = {"name": "node", "template": {"spec": {"template": {"spec": pod}}}}
    spec = {
        "runtimeRef": {"name": "torch-distributed"},
        "trainer": {"numNodes": 2, "numProcPerNode": 2, "command": ["torchrun", "/code/train.py"]},
        "runtimePatches": [
            {
                "manager": "runyard.dev/testbed",
                "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}},
            }
        ],
    }
    train = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "sum"},
        "spec": spec,
    }
    return code, train


def test_torchrun_sums_over_two_nodes_with_two_processes(cluster: Cluster, namespace: str) -> None:
    """A TrainJob on the unchanged upstream controllers completes an all-reduce over gloo."""
    _apply(cluster, namespace, *_all_reduce_job())
    cluster.kubectl("-n", namespace, "wait", "trainjob/sum", "--for=condition=Complete", LONG)
    selector = "jobset.sigs.k8s.io/jobset-name=sum"
    logs = cluster.kubectl("-n", namespace, "logs", "-l", selector, "--tail=-1")
    lines = sorted(line for line in logs.splitlines() if line.startswith("rank"))
    assert lines == [f"rank {rank} of 4: 6" for rank in range(4)]


def _ray_group(**more: Any) -> dict[str, Any]:
    container = {
        "name": "ray",
        "image": WORKER,
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "3Gi"}},
    }
    start = {"num-cpus": "1", **more.pop("start", {})}
    return {
        **more,
        "rayStartParams": start,
        "template": {"spec": {"containers": [container]}},
    }


def test_ray_computes_on_a_head_and_a_worker(cluster: Cluster, namespace: str) -> None:
    """A RayJob on the unchanged upstream operator succeeds."""
    entry = (
        "import ray; ray.init(); double = ray.remote(lambda x: 2 * x); "
        "assert sum(ray.get([double.remote(x) for x in range(4)])) == 12"
    )
    job = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": "squares"},
        "spec": {
            "entrypoint": f'python -c "{entry}"',
            "shutdownAfterJobFinishes": True,
            "submissionMode": "HTTPMode",
            "rayClusterSpec": {
                "headGroupSpec": _ray_group(start={"dashboard-host": "0.0.0.0"}),  # noqa: S104
                "workerGroupSpecs": [
                    _ray_group(groupName="workers", replicas=1, minReplicas=1, maxReplicas=1)
                ],
            },
        },
    }
    _apply(cluster, namespace, job)
    done = "--for=jsonpath={.status.jobStatus}=SUCCEEDED"
    cluster.kubectl("-n", namespace, "wait", "rayjob/squares", done, LONG)


@pytest.mark.exclusive
def test_a_hard_stop_is_survived(cluster: Cluster, namespace: str) -> None:
    """After SIGKILL of everything, up brings back objects, managers and pods that restart."""
    lasting = _pod("lasting", "exec sleep infinity", restartPolicy="Always")
    _apply(cluster, namespace, lasting)
    cluster.kubectl("-n", namespace, "wait", "pod/lasting", "--for=condition=Ready", LONG)
    cluster.hard_stop()
    cluster.start()
    restarts = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1"
    cluster.kubectl("-n", namespace, "wait", "pod/lasting", restarts, LONG)
    _apply(cluster, namespace, *_all_reduce_job())
    cluster.kubectl("-n", namespace, "wait", "trainjob/sum", "--for=condition=Complete", LONG)


@pytest.mark.exclusive
@pytest.mark.parametrize("component", ["containerd", "kubelet", "kube-proxy", "kube-scheduler"])
def test_a_killed_component_comes_back(cluster: Cluster, namespace: str, component: str) -> None:
    """Pods run on while a part of the node is killed and brought back."""
    _apply(cluster, namespace, _pod("steady", "exec sleep infinity"))
    cluster.kubectl("-n", namespace, "wait", "pod/steady", "--for=condition=Ready", LONG)
    cluster.restart(component)
    _apply(cluster, namespace, _pod("after", "echo works"))
    assert _await_success(cluster, namespace, "after") == "works\n"
    steady = json.loads(cluster.kubectl("-n", namespace, "get", "pod", "steady", "-o", "json"))
    assert steady["status"]["phase"] == "Running"
    assert steady["status"]["containerStatuses"][0]["restartCount"] == 0


def test_the_node_belongs_to_one_cluster(cluster: Cluster, tmp_path: Path) -> None:
    """A second cluster that wants pods is told whose the node is, and starts nothing."""
    with pytest.raises(ClusterError, match=f"belongs to cluster '{cluster.home.name}'"):
        start_cluster("second", "node", root=tmp_path / "runyard" / "testbed")
    assert not (tmp_path / "runyard" / "testbed" / "second").exists()


@pytest.mark.exclusive
def test_an_image_is_loaded_once_for_each_content(cluster: Cluster) -> None:
    """Loading what is there already costs next to nothing and says nothing."""
    lines: list[str] = []
    begin = time.monotonic()
    start_cluster(cluster.home.name, "ml", root=cluster.home.root.parent, say=lines.append)
    assert [line for line in lines if "loaded" in line] == []
    assert time.monotonic() - begin < 60
