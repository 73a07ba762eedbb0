"""What each field of an executor changes in the plan. `python -m tests.unit.backends.field_plans`
writes the goldens anew: look at the difference before you commit it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from runyard_operator.backends.base import Plan, Target
from runyard_operator.backends.job.render import render as render_job
from runyard_operator.backends.ray.render import render as render_ray
from runyard_operator.backends.trainjob.render import render as render_train_job
from tests.unit.backends.ray_plans import ray_spec
from tests.unit.backends.rendering import TORCH_RUNTIME
from tests.unit.backends.samples import CONFIG, GOLDENS, job_spec, target, train_spec

NOT_THERE = "(not there)"
"""Stands for what a field takes away."""
SHORT = {
    "Job.spec.template": "Pod",
    "TrainingRuntime.spec.template.spec.replicatedJobs[node].template.spec.template": "Pod",
    "TrainingRuntime.spec.template.spec.replicatedJobs[node].template": "NodeJob",
    "RayJob.spec.rayClusterSpec.headGroupSpec.template": "HeadPod",
    "RayJob.spec.rayClusterSpec.workerGroupSpecs[0].template": "WorkerPod",
    "RayJob.spec.submitterPodTemplate": "SubmitterPod",
}
"""Long paths as the goldens have them."""
MOUNTED = [{"name": "data", "emptyDir": {}}]
ANTI: Mapping[str, Any] = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": ""}}}
        ]
    }
}
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}

PODS: dict[str, Any] = {
    "image": "other:1",
    "imagePullPolicy": "Always",
    "imagePullSecrets": ["regcred"],
    "cpu": "2",
    "cpuLimit": "4",
    "memory": "1Gi",
    "memoryLimit": "2Gi",
    "gpuResource": "amd.com/gpu",
    "extraResourceRequests": {"rdma/ib": "1", "ephemeral-storage": "5Gi"},
    "extraResourceLimits": {"ephemeral-storage": "9Gi"},
    "shmSize": "8Gi",
    "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "a", "readOnly": True}],
    "nodeSelector": {"zone": "a"},
    "tolerations": [{"key": "maintenance", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": dict(ANTI),
    "labels": {"cost-center": "7", "runyard.test/empty": ""},
    "annotations": {"notes": "for the job"},
    "podLabels": {"cost-center": "8"},
    "podAnnotations": {"notes": "for the pods"},
    "podSpecOverrides": {"priorityClassName": "high"},
    "queueName": "team",
    "workloadPriorityClass": "urgent",
    "serviceAccountName": "trainer",
}
"""A value for each field that all executors share."""

OVERRIDES: dict[str, Any] = {
    "priorityClassName": "high",
    "schedulerName": "volcano",
    "runtimeClassName": "gvisor",
    "preemptionPolicy": "Never",
    "terminationGracePeriodSeconds": 600,
    "securityContext": {"runAsUser": 1000, "fsGroup": 2000, "fsGroupChangePolicy": "Always"},
    "topologySpreadConstraints": [SPREAD],
    "resourceClaims": [{"name": "nic", "resourceClaimTemplateName": "nic"}],
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["old"]}],
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["10.0.0.2"]},
    "shareProcessNamespace": True,
}
"""A value for each field of podSpecOverrides."""

OWN: dict[str, dict[str, Any]] = {
    "job": {"nodes": 2, "ntasksPerNode": 4, "gpus": 2},
    "trainJob": {
        "runtime": "other",
        "runtimeKind": "TrainingRuntime",
        "numNodes": 3,
        "minNodes": 1,
        "nprocsPerNode": 2,
        "gpusPerNode": 8,
    },
    "ray": {
        "rayVersion": "2.49.0",
        "head": {"cpu": "3"},
        "workerGroups": [{"name": "more"}],
        "autoscaler": {},
        "reuseVolumesInWorkerGroups": False,
        "preRayStartCommands": ["ulimit -n 65536"],
        "entrypointNumCpus": 2,
        "entrypointNumGpus": 1,
        "entrypointResources": {"disk": 1},
        "runtimeEnv": {"env_vars": {"A": "1"}},
    },
}
"""A value for each field that is an executor's own."""
WHOLE = {"ray": {"cluster", "clusterFrom", "clusterSelector"}}
"""Fields that make another plan altogether: each has a golden of its own, see `ray_plans.py`."""

HEAD: dict[str, Any] = {
    "cpu": "3",
    "cpuLimit": "4",
    "memory": "3Gi",
    "memoryLimit": "4Gi",
    "gpus": 1,
    "rayStartParams": {"num-cpus": "0"},
    "serviceType": "NodePort",
    "ports": [{"name": "metrics-2", "containerPort": 9090}],
}
GROUP: dict[str, Any] = {
    "name": "other",
    "replicas": 2,
    "minReplicas": 0,
    "maxReplicas": 3,
    "gpusPerWorker": 8,
    "cpu": "3",
    "cpuLimit": "4",
    "memory": "3Gi",
    "memoryLimit": "4Gi",
    "rayStartParams": {"num-gpus": "0"},
    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    "nodeSelector": {"zone": "a"},
    "labels": {"cost-center": "9"},
    "annotations": {"notes": "for the group"},
}
AUTOSCALER: dict[str, Any] = {"idleTimeoutSeconds": 60, "upscalingMode": "Conservative"}
NESTED: dict[str, dict[str, dict[str, Any]]] = {
    "job": {"podSpecOverrides": OVERRIDES},
    "trainJob": {"podSpecOverrides": OVERRIDES},
    "ray": {
        "podSpecOverrides": OVERRIDES,
        "head": HEAD,
        "workerGroups": GROUP,
        "autoscaler": AUTOSCALER,
    },
}
"""A value for each field of the objects in an executor's block."""

WITH: dict[str, dict[str, Any]] = {
    "gpuResource": {"gpus": 1, "gpusPerNode": 1, "head": {"gpus": 1}},
    "memoryLimit": {"memory": "1Gi"},
    "extraResourceLimits": {"extraResourceRequests": {"ephemeral-storage": "5Gi"}},
    "volumeMounts": {"volumes": MOUNTED},
    "reuseVolumesInWorkerGroups": {
        "volumes": MOUNTED,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    },
    "workerGroups.volumeMounts": {"volumes": MOUNTED},
    "workerGroups.memoryLimit": {"memory": "1Gi"},
    "workloadPriorityClass": {"queueName": "team"},
}
"""What a field needs beside it; of an executor's own fields only those that it has."""


def block(
    executor: str, name: str, value: Any, within: str | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The executor's block without the field, and with it; `within` is the object that has it."""
    known = {**PODS, **OWN[executor]}
    wanted = WITH.get(name if within is None else f"{within}.{name}", {})
    base: dict[str, Any] = {"image": "pytorch:2.6"}
    if executor == "ray":
        base["workerGroups"] = [{"name": "workers"}]
    base |= {key: each for key, each in wanted.items() if key in known}
    if within is None:
        return base, {**base, name: value}
    if within == "workerGroups":
        return base, {**base, within: [{"name": "workers", name: value}]}
    return {**base, within: {}}, {**base, within: {name: value}}


def _job(fields: Mapping[str, Any]) -> Plan:
    return render_job(target(job_spec(executor={"job": fields})), CONFIG)


def _train_job(fields: Mapping[str, Any]) -> Plan:
    kind = fields.get("runtimeKind", TORCH_RUNTIME["kind"])
    name = fields.get("runtime", TORCH_RUNTIME["metadata"]["name"])
    metadata = {**TORCH_RUNTIME["metadata"], "name": name}
    source = {**TORCH_RUNTIME, "kind": kind, "metadata": metadata}
    spec = train_spec(executor={"trainJob": fields}, launcher={"torchrun": {"maxRestarts": 2}})
    return render_train_job(target(spec), source, CONFIG)


def _ray(fields: Mapping[str, Any]) -> Plan:
    return render_ray(target(ray_spec(dict(fields))), CONFIG)


RENDER: dict[str, Callable[[Mapping[str, Any]], Plan]] = {
    "job": _job,
    "trainJob": _train_job,
    "ray": _ray,
}


def plan_of(executor: str, unit: Target) -> list[dict[str, Any]]:
    """The objects of a unit's plan."""
    if executor == "trainJob":
        return list(render_train_job(unit, TORCH_RUNTIME, CONFIG).objects)
    return list((render_job if executor == "job" else render_ray)(unit, CONFIG).objects)


def changes(executor: str, name: str, value: Any, within: str | None = None) -> dict[str, Any]:
    """The paths in the plan's objects that the field changes, with their new values."""
    without, with_it = (RENDER[executor](each) for each in block(executor, name, value, within))
    before, after = dict(_leaves(without)), dict(_leaves(with_it))
    return {
        path: after.get(path, NOT_THERE)
        for path in dict.fromkeys((*after, *before))
        if before.get(path, NOT_THERE) != after.get(path, NOT_THERE)
    }


def _leaves(plan: Plan) -> Iterator[tuple[str, Any]]:
    for each in plan.objects:
        yield from _below(each, each["kind"])


def _below(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _below(each, f"{path}.{key}")
    elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        for at, each in enumerate(value):
            yield from _below(each, f"{path}[{each.get('name', at)}]")
    else:
        yield _short(path), value


def _short(path: str) -> str:
    found = next((each for each in SHORT if path.startswith(f"{each}.")), None)
    return path if found is None else path.replace(found, SHORT[found], 1)


def document(executor: str) -> dict[str, Any]:
    """What every field of the executor changes."""
    fields = {**PODS, **OWN[executor]}
    found = {name: changes(executor, name, value) for name, value in fields.items()}
    for within, inner in NESTED[executor].items():
        for name, value in inner.items():
            found[f"{within}.{name}"] = changes(executor, name, value, within)
    return found


def main() -> None:
    """Writes the goldens."""
    for executor in RENDER:
        text = json.dumps(document(executor), indent=2, ensure_ascii=False)
        (GOLDENS / f"fields-{executor}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
