"""The rendered cases of executor.ray; `rendering.py` writes their goldens, too."""

from __future__ import annotations

from typing import Any

from runyard_operator.backends.base import Plan
from runyard_operator.backends.ray.borrowed import Host
from runyard_operator.backends.ray.render import render
from tests.unit.backends.samples import CONFIG, target

SECRET = {"secretKeyRef": {"name": "hf", "key": "token", "optional": False}}
CODE = {"inline": [{"path": "recipes/tune.py", "content": "print('tune')\n"}]}


def ray_spec(block: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A unit with executor.ray; a field that is None is left out."""
    whole = {
        "experiment": "sft",
        "task": "train",
        "script": {"inline": "python tune.py"},
        "executor": {"ray": block},
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


def _small() -> Plan:
    return render(target(ray_spec({"image": "rayproject/ray:2.49.0"})), CONFIG)


FULL: dict[str, Any] = {
    "image": "rayproject/ray:2.49.0",
    "imagePullPolicy": "IfNotPresent",
    "imagePullSecrets": ["regcred"],
    "rayVersion": "2.49.0",
    "cpu": "2",
    "memory": "8Gi",
    "nodeSelector": {"pool": "gpu"},
    "serviceAccountName": "ray",
    "labels": {"team": "a"},
    "annotations": {"note": "of the job"},
    "podLabels": {"cost": "a"},
    "podAnnotations": {"note": "of the pods"},
    "volumes": [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "fast", "emptyDir": {}},
    ],
    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    "head": {
        "cpu": "4",
        "cpuLimit": "6",
        "memory": "16Gi",
        "memoryLimit": "20Gi",
        "gpus": 1,
        "rayStartParams": {"num-cpus": "0", "dashboard-port": "8265"},
        "serviceType": "NodePort",
        "ports": [{"name": "metrics-2", "containerPort": 9090}],
    },
    "workerGroups": [
        {"name": "plain"},
        {
            "name": "elastic",
            "replicas": 2,
            "minReplicas": 0,
            "maxReplicas": 8,
            "gpusPerWorker": 4,
            "cpu": "16",
            "cpuLimit": "20",
            "memory": "64Gi",
            "memoryLimit": "80Gi",
            "rayStartParams": {"resources": '{"special": 1}'},
            "volumeMounts": [{"name": "fast", "mountPath": "/fast"}],
            "nodeSelector": {"zone": "a"},
            "labels": {"shape": "large"},
            "annotations": {"note": "of the group"},
        },
    ],
    "autoscaler": {"idleTimeoutSeconds": 120, "upscalingMode": "Conservative"},
    "reuseVolumesInWorkerGroups": True,
    "preRayStartCommands": ["ulimit -l unlimited", 'echo it\'s "ready"'],
    "runtimeEnv": {"env_vars": {"NCCL_DEBUG": "INFO"}, "config": {"setup_timeout_seconds": 900}},
    "entrypointNumCpus": 1,
    "entrypointNumGpus": 1,
    "entrypointResources": {"special": 1},
}


def _full() -> Plan:
    spec = ray_spec(
        FULL,
        script={"path": "recipes/tune.py", "entrypoint": "python3", "args": ["--lr", "$(LR) 'x'"]},
        code=CODE,
        env=[{"name": "HF_TOKEN", "valueFrom": SECRET}, {"name": "PRICE", "value": "$$5"}],
        outputs=[{"name": "best"}],
    )
    return render(target(spec, attempt=2), CONFIG)


def _cluster() -> Plan:
    block = {
        "image": "rayproject/ray:2.49.0",
        "cluster": {},
        "workerGroups": [{"name": "wk", "replicas": 2, "minReplicas": 0}],
    }
    spec = ray_spec(block, script=None, code=CODE, env=[{"name": "HF_TOKEN", "valueFrom": SECRET}])
    return render(target(spec), CONFIG)


def _borrowed() -> Plan:
    spec = ray_spec(
        {"clusterFrom": {"task": "cluster", "unit": "sft-cluster"}, "queueName": "gpus"},
        code=CODE,
        env=[
            {"name": "LR", "value": 'it\'s "1e-4"'},
            {"name": "PYTHONPATH", "value": "/opt/lib"},
            {"name": "HF_TOKEN", "valueFrom": SECRET},
        ],
        outputs=[{"name": "best"}],
    )
    return render(target(spec), CONFIG, Host("sft-cluster-1", {"HF_TOKEN": SECRET}))


def _selected() -> Plan:
    spec = ray_spec({"clusterSelector": {"team": "a"}}, script={"inline": "echo hi", "args": ["x"]})
    return render(target(spec), CONFIG, Host("theirs", {}))


CASES = {
    "ray-small": _small,
    "ray-full": _full,
    "ray-cluster": _cluster,
    "ray-borrowed": _borrowed,
    "ray-selected": _selected,
}
