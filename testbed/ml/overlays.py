"""Kustomizations over the upstream manifests: local images, small requests, quick probes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed import build

# Managers share two cores with everything else; upstream probes wait for up to 25 seconds.
_SMALL: list[Mapping[str, Any]] = [
    {"op": "add", "path": "/spec/template/spec/containers/0/resources",
     "value": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}},
    {"op": "replace", "path": "/spec/template/spec/containers/0/readinessProbe/initialDelaySeconds",
     "value": 1},
    {"op": "replace", "path": "/spec/template/spec/containers/0/readinessProbe/periodSeconds",
     "value": 1},
]  # fmt: skip
_NO_ELECTION: list[Mapping[str, Any]] = [
    {"op": "add", "path": "/spec/template/spec/containers/0/args/-",
     "value": "--enable-leader-election=false"},
]  # fmt: skip
# Kueue looks at jobs that carry this label, and at no others.
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_KUEUE_FRAMEWORKS = (
    "batch/job",
    "jobset.x-k8s.io/jobset",
    "ray.io/rayjob",
    "ray.io/raycluster",
    "trainer.kubeflow.org/trainjob",
)
_KUEUE_JOBS = ("job", "jobset", "raycluster", "rayjob", "trainjob")
_KUEUE_OTHERS = (
    "appwrapper", "deployment", "jaxjob", "leaderworkerset", "mpijob", "paddlejob", "pod",
    "pytorchjob", "rayservice", "sparkapplication", "statefulset", "tfjob", "xgboostjob",
)  # fmt: skip
_KUEUE_CONFIG: Mapping[str, Any] = {
    "apiVersion": "config.kueue.x-k8s.io/v1beta2",
    "kind": "Configuration",
    "health": {"healthProbeBindAddress": ":8081"},
    "metrics": {"bindAddress": ":8443"},
    "webhook": {"port": 9443},
    "leaderElection": {"leaderElect": False},
    "manageJobsWithoutQueueName": False,
    "integrations": {"frameworks": _KUEUE_FRAMEWORKS},
}
_TRAINER_NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "kubeflow-system"},
}


@dataclass(frozen=True, slots=True)
class Overlay:
    """A kustomization to write beside a copy of upstream's folder, named ``upstream``."""

    kustomization: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    single: tuple[str, ...]  # files of upstream in which a lone replica need not elect a leader


def _deployment_patch(*operations: Mapping[str, Any]) -> dict[str, Any]:
    return {"target": {"kind": "Deployment"}, "patch": json.dumps(operations)}


def _image(upstream: str, name: str) -> dict[str, str]:
    reference, tag = build.image_ref(name).rsplit(":", 1)
    return {"name": upstream, "newName": reference, "newTag": tag}


def trainer() -> Overlay:
    """Return the overlay for Kubeflow Trainer (without JobSet, which upstream pulls in)."""
    secret = {
        "name": "kubeflow-trainer-webhook-cert",
        "options": {"disableNameSuffixHash": True},
    }
    kustomization = {
        "namespace": "kubeflow-system",
        "resources": [
            "namespace.json",
            *(f"upstream/base/{part}" for part in ("crds", "manager", "rbac", "webhook")),
        ],
        "images": [
            _image(
                "ghcr.io/kubeflow/trainer/trainer-controller-manager",
                "image/trainer-controller-manager",
            )
        ],
        "secretGenerator": [secret],
        "patches": [_deployment_patch(*_SMALL)],
    }
    files = {"namespace.json": _TRAINER_NAMESPACE}
    return Overlay(kustomization, files, ("base/manager/controller_manager_config.yaml",))


def jobset() -> Overlay:
    """Return the overlay for JobSet."""
    kustomization = {
        "resources": ["upstream/default"],
        "images": [
            _image("us-central1-docker.pkg.dev/k8s-staging-images/jobset/jobset", "image/jobset")
        ],
        "patches": [_deployment_patch(*_SMALL)],
    }
    return Overlay(kustomization, {}, ("components/manager/controller_manager_config.yaml",))


def kuberay() -> Overlay:
    """Return the overlay for the KubeRay operator."""
    kustomization = {
        "namespace": "ray-system",
        "resources": ["namespace.json", "upstream/default"],
        "images": [_image("quay.io/kuberay/operator", "image/kuberay-operator")],
        "patches": [_deployment_patch(*_SMALL, *_NO_ELECTION)],
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ray-system"}}
    return Overlay(kustomization, {"namespace.json": namespace}, ())


def _kueue_webhooks(kind: str, letter: str) -> dict[str, Any]:
    """Return a patch: webhooks for labelled jobs only, so that others do not depend on Kueue."""
    labelled = {"matchExpressions": [{"key": QUEUE_LABEL, "operator": "Exists"}]}
    webhooks: list[Mapping[str, Any]] = [
        {"name": f"{letter}{each}.kb.io", "objectSelector": labelled} for each in _KUEUE_JOBS
    ]
    webhooks += [{"name": f"{letter}{each}.kb.io", "$patch": "delete"} for each in _KUEUE_OTHERS]
    patch = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": f"kueue-{kind.lower()}-webhook-configuration"},
        "webhooks": webhooks,
    }
    return {"patch": json.dumps(patch)}


def _without(api_version: str, kind: str, name: str) -> dict[str, Any]:
    patch = {
        "$patch": "delete",
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name},
    }
    return {"patch": json.dumps(patch)}


def kueue() -> Overlay:
    """Return the overlay for Kueue: it manages only jobs with a queue's name.

    Its API service for a look at the queues is left out: namespaces cannot be deleted while an
    aggregated API does not answer.
    """
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kueue-manager-config", "namespace": "kueue-system"},
        "data": {"controller_manager_config.yaml": json.dumps(_KUEUE_CONFIG)},
    }
    container = "/spec/template/spec/containers/0"
    local: list[Mapping[str, Any]] = [
        {"op": "replace", "path": f"{container}/imagePullPolicy", "value": "IfNotPresent"},
        {"op": "add", "path": f"{container}/args/-",
         "value": "--feature-gates=VisibilityOnDemand=false"},
    ]  # fmt: skip
    versions = ("v1beta1", "v1beta2")
    kustomization = {
        "resources": ["upstream/default"],
        "images": [_image("us-central1-docker.pkg.dev/k8s-staging-images/kueue/kueue",
                          "image/kueue")],
        "patches": [
            _deployment_patch(*_SMALL, *local),
            {"patch": json.dumps(config)},
            _kueue_webhooks("Mutating", "m"),
            _kueue_webhooks("Validating", "v"),
            *(
                _without("apiregistration.k8s.io/v1", "APIService",
                         f"{version}.visibility.kueue.x-k8s.io")
                for version in versions
            ),
        ],
    }  # fmt: skip
    return Overlay(kustomization, {}, ())


def write(overlay: Overlay, upstream: Path, folder: Path, digest: str) -> None:
    """Write the kustomization into ``folder``, with a copy of upstream's manifests beside it.

    All objects and pod templates get ``digest``: a manager restarts when its program is another
    one, although the image's name stays.
    The copy is needed: kustomize takes a module cache's path, with its ``@``, for a URL.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(upstream, folder / "upstream", copy_function=shutil.copyfile)
    for path in (folder / "upstream").rglob("*"):
        if path.is_dir():
            path.chmod(0o755)  # the module cache is read-only, folders included
    for single in overlay.single:
        path = folder / "upstream" / single
        path.write_text(path.read_text().replace("leaderElect: true", "leaderElect: false"))
    for name, manifest in overlay.files.items():
        (folder / name).write_text(json.dumps(manifest))
    whole = {**overlay.kustomization, "commonAnnotations": {"testbed.local/made-from": digest}}
    (folder / "kustomization.yaml").write_text(json.dumps(whole, indent=1))
