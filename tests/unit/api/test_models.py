"""The models on the wire: names, round trips, refusals, and what is left out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic.alias_generators import to_snake

import runyard.api
from runyard.api import (
    ApiModel,
    Attempt,
    BackendSpec,
    Condition,
    ExperimentSpec,
    ExperimentStatus,
    ProfileSpec,
    Task,
    UnitPhase,
    UnitSpec,
    UnitStatus,
)
from runyard.api.podfields import PodFields
from runyard.api.task import Work

TIME = "2026-01-01T12:00:00Z"
JOB = {
    "image": "registry.example/app:1",
    "imagePullPolicy": "IfNotPresent",
    "imagePullSecrets": ["pull"],
    "cpu": "500m",
    "cpuLimit": "2",
    "memory": "1.5Gi",
    "memoryLimit": "2Gi",
    "volumes": [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}},
        {"name": "conf", "configMap": {"name": "c", "items": [{"key": "k", "path": "a/b.txt"}]}},
        {"name": "keys", "secret": {"secretName": "s", "items": []}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
    ],
    "volumeMounts": [
        {"name": "data", "mountPath": "/data", "subPath": "x/y", "readOnly": False},
    ],
    "gpuResource": "amd.com/gpu",
    "extraResourceRequests": {"rdma/ib": "1"},
    "extraResourceLimits": {"rdma/ib": "1"},
    "shmSize": "8Gi",
    "nodeSelector": {"zone": "a"},
    "tolerations": [
        {
            "key": "gpu",
            "operator": "Equal",
            "value": "a100",
            "effect": "NoExecute",
            "tolerationSeconds": 60,
        }
    ],
    "affinity": {"nodeAffinity": {}},
    "labels": {"team": "a"},
    "annotations": {"note": "x"},
    "podLabels": {"team": "a"},
    "podAnnotations": {"note": "x"},
    "podSpecOverrides": {
        "priorityClassName": "high",
        "schedulerName": "volcano",
        "runtimeClassName": "nvidia",
        "preemptionPolicy": "Never",
        "terminationGracePeriodSeconds": 60,
        "securityContext": {
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "runAsNonRoot": True,
            "fsGroup": 1000,
            "fsGroupChangePolicy": "OnRootMismatch",
            "supplementalGroups": [1],
        },
        "topologySpreadConstraints": [{"maxSkew": 1}],
        "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpu"}],
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["nas"]}],
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["10.0.0.2"]},
        "shareProcessNamespace": True,
    },
    "queueName": "team-a",
    "workloadPriorityClass": "high",
    "serviceAccountName": "runner",
    "gpus": 1,
    "nodes": 2,
    "ntasksPerNode": 4,
}
POD = {key: value for key, value in JOB.items() if to_snake(key) in PodFields.model_fields}
TRAIN = {
    **POD,
    "runtime": "torch-distributed",
    "runtimeKind": "ClusterTrainingRuntime",
    "numNodes": 2,
    "nprocsPerNode": 2,
    "gpusPerNode": 8,
    "minNodes": 1,
}
RAY_GROUP = {
    "name": "workers",
    "replicas": 1,
    "minReplicas": 0,
    "maxReplicas": 4,
    "gpusPerWorker": 1,
    "cpu": "1",
    "cpuLimit": "2",
    "memory": "1Gi",
    "memoryLimit": "2Gi",
    "rayStartParams": {"num-cpus": "1"},
    "volumeMounts": [{"name": "data", "mountPath": "/d", "readOnly": True}],
    "nodeSelector": {"zone": "b"},
    "labels": {"team": "a"},
    "annotations": {"note": "x"},
}
# That at most one of the three ways to a shared cluster is set is a rule of the API server's.
RAY = {
    **POD,
    "rayVersion": "2.60.0",
    "head": {
        "cpu": "1",
        "cpuLimit": "2",
        "memory": "2Gi",
        "memoryLimit": "4Gi",
        "gpus": 1,
        "rayStartParams": {"num-cpus": "0"},
        "serviceType": "NodePort",
        "ports": [{"name": "serve", "containerPort": 8000}],
    },
    "workerGroups": [RAY_GROUP],
    "autoscaler": {"idleTimeoutSeconds": 60, "upscalingMode": "Aggressive"},
    "reuseVolumesInWorkerGroups": False,
    "preRayStartCommands": ["ulimit -n 65536"],
    "entrypointNumCpus": 1,
    "entrypointNumGpus": 0,
    "entrypointResources": {"tpu": 1},
    "runtimeEnv": {"env_vars": {"A": "1"}},
    "cluster": {},
    "clusterFrom": {"task": "cluster", "unit": "exp-cluster"},
    "clusterSelector": {"ray.io/cluster": "shared"},
}
ENV = [
    {"name": "PLAIN", "value": "1"},
    {
        "name": "SECRET",
        "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": False}},
    },
    {
        "name": "MAP",
        "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k", "optional": True}},
    },
    {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
]
SCRIPT = {"inline": "echo", "args": ["a"], "entrypoint": "bash"}
RENDEZVOUS = {"rdzvBackend": "c10d", "rdzvPort": 29500, "rdzvId": "x", "maxRestarts": 3}
# Either torchrun or ft: a rule of the API server's, too.
LAUNCHER = {
    "torchrun": RENDEZVOUS,
    "ft": {
        **RENDEZVOUS,
        "cfgPath": "/etc/ft.yaml",
        "finishedFlagFile": "/data/finished",
        "workloadCheckInterval": 5,
        "initialRankHeartbeatTimeout": 60,
        "rankHeartbeatTimeout": 45,
        "rankTerminationSignal": "SIGTERM",
        "logLevel": "DEBUG",
    },
    "nsys": {
        "folder": "/data/profile",
        "filename": "profile_%p",
        "trace": ["nvtx"],
        "extraArgs": ["--force-overwrite=true"],
        "gpuMetrics": True,
    },
}
PACKAGES = {
    "requirements": ["numpy==2.0"],
    "indexUrl": "https://host/simple",
    "extraIndexUrls": ["https://other/simple"],
    "indexSecret": {"name": "s", "key": "url", "optional": False},
    "cache": {"claimName": "wheels"},
}
ARTIFACTS = [{"name": "model", "path": "/data/model.pt"}, {"name": "far", "uri": "s3://b/far"}]
RETRY = {
    "limit": 3,
    "infrastructureLimit": 10,
    "failureClasses": ["Error", "Timeout"],
    "exitCodes": [1, 255],
    "backoff": {"seconds": 1, "factor": 3, "maxSeconds": 60, "jitterPercent": 0},
}
DEADLINES = {"queuedSeconds": 60, "activeSeconds": 90}
# The rule that a task has either a script or a group is the API server's.
GROUP = {
    "roles": [
        {
            "name": "a",
            "script": SCRIPT,
            "env": [{"name": "A", "value": "1"}],
            "launcher": LAUNCHER,
            "numNodes": 2,
            "nprocsPerNode": 4,
            "gpusPerNode": 4,
            "image": "app",
            "cpu": "1",
            "cpuLimit": "2",
            "memory": "1Gi",
            "memoryLimit": "2Gi",
        }
    ],
    "successPolicy": "Leader",
}
MATRIX = {
    "parameters": {"lr": ["0.1", "0.2"]},
    "include": [{"lr": "1"}],
    "exclude": [{"lr": "0.1"}],
    "maxParallel": 1,
}
TASK = {
    "name": "train",
    "script": SCRIPT,
    "env": ENV,
    "launcher": LAUNCHER,
    "packages": PACKAGES,
    "executor": {"trainJob": TRAIN, "ray": RAY},
    "outputs": [{"name": "loss"}],
    "artifacts": ARTIFACTS,
    "group": GROUP,
    "retry": RETRY,
    "deadlines": DEADLINES,
    "profile": "h100",
    "after": [{"task": "prep", "when": "Finished"}],
    "afterPolicy": "Any",
    "allowFailure": True,
    "matrix": MATRIX,
    "approval": {"message": "look"},
}
WORK = {name: value for name, value in TASK.items() if to_snake(name) in Work.model_fields}
PROFILE = {
    "extends": "base",
    "env": ENV,
    "packages": PACKAGES,
    "executor": {"job": JOB, "ray": RAY},
    "retry": RETRY,
    "deadlines": DEADLINES,
}
DIGEST = "sha256:" + "0" * 64
# Exactly one source: the API server's rule.
CODE = {
    "inline": [{"path": "pkg/main.py", "content": "print()"}],
    "bundle": {"digest": DIGEST, "size": 10},
    "git": {
        "url": "git@host:repo.git",
        "ref": "main",
        "commit": "0" * 40,
        "subpath": "recipes",
        "submodules": True,
        "secret": {"name": "deploy"},
    },
    "pvc": {"claimName": "c", "subPath": "a", "readOnly": True, "digest": DIGEST},
    "uri": {"url": "https://host/a.tgz", "digest": DIGEST, "secret": {"name": "s"}},
}
CONDITION = {
    "type": "Accepted",
    "status": "True",
    "observedGeneration": 3,
    "lastTransitionTime": TIME,
    "reason": "Accepted",
    "message": "",
}
FULL: list[tuple[type[ApiModel], dict[str, Any]]] = [
    (
        ExperimentSpec,
        {
            "mode": "Plan",
            "params": [{"name": "p", "value": "1"}],
            "rerunOf": {"name": "earlier", "fromTasks": ["train"]},
            "defaults": {
                "profile": "p",
                "env": ENV,
                "packages": PACKAGES,
                "executor": {"job": JOB, "trainJob": TRAIN},
                "retry": RETRY,
                "deadlines": DEADLINES,
            },
            "code": CODE,
            "failurePolicy": "Continue",
            "maxParallel": 2,
            "suspend": True,
            "suspendTasks": ["train"],
            "approvals": [{"task": "train", "verdict": "Reject", "message": "no"}],
            "cancel": True,
            "activeDeadlineSeconds": 60,
            "ttlSecondsAfterFinished": 0,
            "tasks": [TASK],
            "finally": [TASK],
        },
    ),
    (
        ExperimentStatus,
        {
            "observedGeneration": 1,
            "phase": "Failed",
            "reason": "TasksFailed",
            "message": "failed: a",
            "progress": "1/2",
            "counts": {
                "total": 2,
                **{str(phase).lower(): 0 for phase in UnitPhase},
            },
            "failedTasks": [{"name": "a", "reason": "Error", "message": "m"}],
            "skippedTasks": [{"name": "b", "reason": "DependencyNotMet", "message": "m"}],
            "tasks": [{"name": "a", "states": "F"}, {"name": "m", "states": ".+SCK"}],
            "profiles": [{"name": "p", "namespace": "n", "spec": PROFILE}],
            "code": {"commit": "0" * 40, "digest": DIGEST},
            "plan": {"configMap": "c", "digest": DIGEST},
            "startTime": TIME,
            "completionTime": TIME,
            "conditions": [CONDITION],
        },
    ),
    (
        UnitSpec,
        {
            **WORK,
            "experiment": "exp",
            "task": "train",
            "member": {"index": 3, "values": {"lr": "0.1"}},
            "adopted": {
                "experiment": "earlier",
                "unit": "earlier-train",
                "uid": "u",
                "outputs": [{"name": "loss", "value": "0.1"}],
            },
            "code": {
                "configMap": {
                    "name": "code",
                    "items": [{"key": "f", "path": "a/b.py"}],
                    "digest": DIGEST,
                }
            },
            "gates": [{"name": "dependencies"}],
            "skip": {"reason": "FailFast", "message": "m"},
            "suspend": True,
            "cancel": False,
        },
    ),
    (
        UnitStatus,
        {
            "observedGeneration": 1,
            "phase": "Failed",
            "reason": "Error",
            "message": "m",
            "attempts": [
                {
                    "number": 1,
                    "key": "uid-1",
                    "epoch": 2,
                    "handle": {"kind": "Job", "name": "n", "uid": "u"},
                    "planDigest": DIGEST,
                    "node": "node-1",
                    "exitCode": 137,
                    "failureClass": "OutOfMemory",
                    "reason": "OOMKilled",
                    "message": "m",
                    "lastLogLines": ["a", "b"],
                    "submitTime": TIME,
                    "startTime": TIME,
                    "completionTime": TIME,
                    "missingSince": TIME,
                    "lateResult": "Succeeded",
                    "log": {
                        "location": "store:ns/u/1",
                        "sizeBytes": 7,
                        "digest": DIGEST,
                        "message": "m",
                    },
                }
            ],
            "retries": {"user": 1, "infrastructure": 2},
            "nextAttemptTime": TIME,
            "outputs": [{"name": "loss", "value": "0.1"}],
            "artifacts": [
                {"name": "model", "path": "/data/m", "sizeBytes": 7, "digest": DIGEST},
                {"name": "far", "uri": "s3://b/far"},
            ],
            "dashboardUrl": "http://ray:8265",
            "startTime": TIME,
            "completionTime": TIME,
            "conditions": [CONDITION],
        },
    ),
    (ProfileSpec, PROFILE),
    (BackendSpec, {"allowedNamespaces": ["team-a"]}),
]


@pytest.mark.parametrize(("model", "wire"), FULL, ids=[each[0].__name__ for each in FULL])
def test_every_field_survives_the_round_trip(model: type[ApiModel], wire: dict[str, Any]) -> None:
    """JSON in, the same JSON out, times included; and equal again as a model."""
    read = model.model_validate(json.loads(json.dumps(wire)))
    assert read.to_dict() == wire
    assert model.model_validate(read.to_dict()) == read


@pytest.mark.parametrize(("model", "wire"), FULL, ids=[each[0].__name__ for each in FULL])
def test_the_full_examples_are_full(model: type[ApiModel], wire: dict[str, Any]) -> None:
    """A new field must come into the round trip."""
    names = {info.alias or name for name, info in model.model_fields.items()}
    assert set(wire) == names


def test_unset_fields_are_absent() -> None:
    """Nothing on the wire is null."""
    task = Task.model_validate({"name": "a", "script": {"path": "x.sh"}, "executor": {"job": {}}})
    assert "null" not in json.dumps(task.to_dict())
    empty: dict[str, Any] = {"attempts": [], "outputs": [], "artifacts": [], "conditions": []}
    assert UnitStatus().to_dict() == empty


def test_times_are_in_utc_with_whole_seconds() -> None:
    """As the API server writes them, so that a repeated write is equal."""
    at = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    assert Attempt(number=1, key="k", start_time=at).to_dict()["startTime"] == TIME
    condition = Condition(type="A", status="True", reason="R", last_transition_time=at)
    assert condition.to_dict()["lastTransitionTime"] == TIME


@pytest.mark.parametrize("place", ["tasks.0.skript", "defaults.images", "code.svn", "cancelled"])
def test_unknown_fields_are_refused(place: str) -> None:
    """A typing error is never dropped in silence; the error has the path."""
    wire = json.loads(json.dumps(FULL[0][1]))
    *path, last = place.split(".")
    parent: Any = wire
    for part in path:
        parent = parent[int(part) if part.isdigit() else part]
    parent[last] = {}
    with pytest.raises(ValidationError) as error:
        ExperimentSpec.model_validate(wire)
    assert {".".join(map(str, each["loc"])) for each in error.value.errors()} == {place}


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("/data", True),
        ("/data/", True),
        ("/a/.cache/..b", True),
        ("/", False),
        ("data", False),
        ("/a//b", False),
        ("/a/../nemo_run", False),
        ("/./nemo_run", False),
        ("/a:b", False),
    ],
)
def test_mount_paths_are_plain(path: str, good: bool) -> None:
    """No way around the folders that belong to Runyard, none to the root."""
    wire = {"job": {"volumeMounts": [{"name": "v", "mountPath": path}]}}
    try:
        ProfileSpec.model_validate({"executor": wire})
    except ValidationError:
        assert not good
    else:
        assert good


@pytest.mark.parametrize("name", ["a", "a-1", "x" * 63])
def test_task_names_are_dns_labels(name: str) -> None:
    """They become parts of pod names."""
    assert Task.model_validate({**TASK, "name": name}).name == name


@pytest.mark.parametrize("name", ["", "A", "1a", "a-", "a.b", "a_b", "x" * 64, "a\n"])
def test_other_task_names_are_refused(name: str) -> None:
    """The API server would refuse the pods later; here the user sees it at once."""
    with pytest.raises(ValidationError):
        Task.model_validate({**TASK, "name": name})


def test_models_are_frozen() -> None:
    """What was read cannot be changed by accident."""
    with pytest.raises(ValidationError):
        ProfileSpec().extends = "x"


def test_terminal_phases_are_the_last_four() -> None:
    """A new phase must be put on one side."""
    assert [phase for phase in UnitPhase if phase.terminal] == [
        UnitPhase.SUCCEEDED,
        UnitPhase.FAILED,
        UnitPhase.CANCELLED,
        UnitPhase.SKIPPED,
    ]


def test_the_package_exports_what_it_says() -> None:
    """`__all__` is sorted by kind and complete for models and enums."""
    assert all(hasattr(runyard.api, name) for name in runyard.api.__all__)
    public = {
        name
        for name, value in vars(runyard.api).items()
        if isinstance(value, type) and issubclass(value, ApiModel | StrEnum)
    }
    assert public <= set(runyard.api.__all__)
