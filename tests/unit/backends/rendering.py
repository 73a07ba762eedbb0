"""The rendered cases. `python -m tests.unit.backends.rendering` writes the goldens anew."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from runyard_operator.backends.base import Plan
from runyard_operator.backends.job.render import render as render_job
from runyard_operator.backends.trainjob.render import render as render_train_job
from tests.unit.backends import ray_plans
from tests.unit.backends.samples import CONFIG, GOLDENS, job_spec, target, train_spec

SECRET_ENV = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}
INLINE = {
    "inline": [
        {"path": "recipes/sft.py", "content": "print('sft')\n"},
        {"path": "train.sh", "content": "python recipes/sft.py\n"},
    ]
}

TORCH_RUNTIME: dict[str, Any] = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "ClusterTrainingRuntime",
    "metadata": {
        "name": "torch-distributed",
        "generation": 3,
        "uid": "r-1",
        "resourceVersion": "7",
        "labels": {
            "trainer.kubeflow.org/framework": "torch",
            "argocd.argoproj.io/instance": "platform",
        },
    },
    "spec": {
        "mlPolicy": {"numNodes": 1, "torch": {}},
        "fieldOfTheFuture": {"keep": True},
        "template": {
            "spec": {
                "replicatedJobs": [
                    {
                        "name": "dataset-initializer",
                        "template": {
                            "metadata": {
                                "labels": {
                                    "trainer.kubeflow.org/trainjob-ancestor-step": (
                                        "dataset-initializer"
                                    )
                                }
                            },
                            "spec": {
                                "template": {
                                    "spec": {
                                        "containers": [
                                            {"name": "dataset-initializer", "image": "init:1"}
                                        ]
                                    }
                                }
                            },
                        },
                    },
                    {
                        "name": "node",
                        "template": {
                            "metadata": {
                                "labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
                            },
                            "spec": {
                                "template": {
                                    "metadata": {"labels": {"team": "platform"}},
                                    "spec": {
                                        "tolerations": [{"key": "gpu", "operator": "Exists"}],
                                        "nodeSelector": {"pool": "gpu"},
                                        "containers": [
                                            {
                                                "name": "node",
                                                "image": "pytorch/pytorch:2.6",
                                                "command": ["echo", "nothing to run"],
                                                "args": ["left", "over"],
                                                "volumeMounts": [
                                                    {"name": "shm", "mountPath": "/fast"}
                                                ],
                                            }
                                        ],
                                        "volumes": [
                                            {"name": "shm", "emptyDir": {"medium": "Memory"}}
                                        ],
                                    },
                                }
                            },
                        },
                    },
                ]
            }
        },
    },
}


def _job_small() -> Plan:
    return render_job(target(job_spec()), CONFIG)


def _job_full() -> Plan:
    block = {
        "image": "python:3.12-slim",
        "imagePullPolicy": "IfNotPresent",
        "imagePullSecrets": ["regcred"],
        "cpu": "500m",
        "cpuLimit": "2",
        "memory": "1Gi",
        "gpus": 1,
        "nodeSelector": {"pool": "cpu"},
        "serviceAccountName": "trainer",
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "keys", "secret": {"secretName": "keys"}},
        ],
        "volumeMounts": [
            {"name": "data", "mountPath": "/data", "readOnly": True},
            {"name": "keys", "mountPath": "/keys", "subPath": "ssh"},
        ],
    }
    spec = job_spec(
        script={"path": "train.sh", "args": ["--epochs", "3", "$(NODE)"]},
        code=INLINE,
        env=[
            SECRET_ENV,
            {"name": "PYTHONPATH", "value": "/opt/lib"},
            {"name": "PYTHONUNBUFFERED", "value": "0"},
            {"name": "RUNYARD_OUTPUTS", "value": "/elsewhere"},
            {"name": "PRICE", "value": "$$5"},
        ],
        executor={"job": block},
        outputs=[{"name": "rows"}, {"name": "loss"}],
    )
    return render_job(target(spec, attempt=2), CONFIG)


def _job_config_map() -> Plan:
    digest = f"sha256:{'0' * 64}"
    code = {"configMap": {"name": "mine", "items": [{"key": "a", "path": "p/a.py"}]}}
    code["configMap"]["digest"] = digest
    spec = job_spec(script={"path": "p/a.py", "entrypoint": "python3"}, code=code)
    return render_job(target(spec), CONFIG)


def _group(policy: str) -> Plan:
    roles = [
        {
            "name": "serve",
            "script": {"inline": "python serve.py"},
            "env": [{"name": "PORT", "value": "80"}],
        },
        {"name": "load", "script": {"path": "train.sh", "args": ["$(PORT)"]}},
    ]
    block = {"image": "python:3.12-slim", "cpu": "1", "gpus": 1, "memory": "1Gi"}
    spec = job_spec(
        group={"roles": roles, "successPolicy": policy},
        env=[{"name": "PORT", "value": "0"}, SECRET_ENV],
        code=INLINE,
        executor={"job": block},
        outputs=[{"name": "rows"}],
    )
    del spec["script"]
    return render_job(target(spec), CONFIG)


def _train_job() -> Plan:
    block = {
        "image": "pytorch:2.6",
        "numNodes": 2,
        "nprocsPerNode": 4,
        "gpusPerNode": 4,
        "memory": "32Gi",
        "imagePullPolicy": "Never",
        "nodeSelector": {"zone": "a"},
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}],
        "volumeMounts": [{"name": "shm", "mountPath": "/fast"}],
    }
    spec = train_spec(
        script={"path": "recipes/sft.py", "entrypoint": "python3", "args": ["--lr", "1e-4"]},
        launcher={"torchrun": {"maxRestarts": 2}},
        code=INLINE,
        env=[SECRET_ENV],
        executor={"trainJob": block},
    )
    return render_train_job(target(spec), TORCH_RUNTIME, CONFIG)


def _gang(policy: str) -> Plan:
    roles = [
        {
            "name": "train",
            "script": {"module": "recipes.sft", "args": ["$(RUNYARD_HEAD_ADDR)"]},
            "launcher": {"torchrun": {"maxRestarts": 1}},
        },
        {
            "name": "data-server",
            "numNodes": 3,
            "gpusPerNode": 0,
            "image": "server:1",
            "cpu": "8",
            "memory": "64Gi",
            "script": {"path": "serve.sh"},
            "env": [{"name": "PORT", "value": "80"}],
        },
        {
            "name": "reward",
            "gpusPerNode": 1,
            "script": {"path": "reward.py", "entrypoint": "python3"},
            "launcher": {"ft": {"finishedFlagFile": "/data/done", "rdzvPort": 29600}},
        },
    ]
    block = {
        "image": "pytorch:2.6",
        "numNodes": 2,
        "gpusPerNode": 8,
        "memory": "512Gi",
        "memoryLimit": "1Ti",
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    spec = train_spec(
        group={"roles": roles, "successPolicy": policy},
        executor={"trainJob": block},
        artifacts=[{"name": "model", "path": "/data/model"}],
    )
    del spec["script"], spec["launcher"]
    return render_train_job(target(spec), TORCH_RUNTIME, CONFIG)


CASES = {
    "job-small": _job_small,
    "job-full": _job_full,
    "job-configmap": _job_config_map,
    "job-group-all": partial(_group, "All"),
    "job-group-leader": partial(_group, "Leader"),
    "trainjob": _train_job,
    "trainjob-gang-all": partial(_gang, "All"),
    "trainjob-gang-leader": partial(_gang, "Leader"),
    **ray_plans.CASES,
}


def document(plan: Plan) -> dict[str, Any]:
    """A plan as its golden file holds it; long words of commands as lines, to be read."""
    whole = {
        "bundles": list(plan.bundles),
        "objects": list(plan.objects),
        "digest": plan.digest,
    }
    readable: dict[str, Any] = _readable(whole)
    return readable


def _readable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _readable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_readable(each) for each in value]
    if isinstance(value, str) and value.count("\n") > 1:
        return {"lines": value.split("\n")}
    return value


def main() -> None:
    """Writes all goldens: look at the difference before you commit it."""
    GOLDENS.mkdir(exist_ok=True)
    for name, render in CASES.items():
        text = json.dumps(document(render()), indent=2, ensure_ascii=False)
        (GOLDENS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
