"""Using a cluster that the testbed does not run: the current context's, or a kind one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence

from testbed import build
from testbed.errors import ClusterError
from testbed.layout import REPOSITORY

Say = Callable[[str], None]
_KIND_NAME = "runyard"
_TRAINER_CRD = "trainjobs.trainer.kubeflow.org"
_INSTALL_TRAINER = (
    "kubectl apply --server-side -k "
    "'https://github.com/kubeflow/trainer.git/manifests/overlays/manager?ref=v2.3.0' && "
    "kubectl apply --server-side -k "
    "'https://github.com/kubeflow/trainer.git/manifests/overlays/runtimes?ref=v2.3.0'"
)
# What a user with Docker builds, instead of the parts that the testbed builds by itself.
_DOCKERFILES = {
    "image/operator": "operator/Dockerfile",
    "image/worker": "testbed/worker/Dockerfile",
}


def _demand(program: str, advice: str) -> None:
    if shutil.which(program) is None:
        raise ClusterError(f"the program {program} is missing: {advice}")


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` failed: {done.stderr.strip()[-800:]}")
    return done.stdout


def _check_cluster(say: Say) -> None:
    context = _run("kubectl", "config", "current-context").strip()
    try:
        _run("kubectl", "get", "--raw", "/readyz", "--request-timeout=10s")
    except ClusterError as error:
        raise ClusterError(
            f"the cluster of context {context!r} does not answer ({error}); choose another one "
            "with `kubectl config use-context NAME`, or run the testbed's own with `--cluster "
            "testbed`"
        ) from error
    say(f"the cluster of context {context!r} answers")
    crd = ("kubectl", "get", "crd", _TRAINER_CRD, "--ignore-not-found", "--output=name")
    if not _run(*crd).strip():
        raise ClusterError(
            "Kubeflow Trainer is not installed on this cluster; install it with\n  "
            f"{_INSTALL_TRAINER}"
        )
    say("Kubeflow Trainer is installed")


def _make_kind(images: Sequence[str], say: Say) -> None:
    _demand("docker", "install Docker (https://docs.docker.com/engine/install/)")
    _demand("kind", "install kind (https://kind.sigs.k8s.io/docs/user/quick-start/)")
    _run("docker", "info")
    if _KIND_NAME not in _run("kind", "get", "clusters").split():
        say("making the kind cluster (a few minutes the first time)")
        config = str(REPOSITORY / "kind-config.yaml")
        _run("kind", "create", "cluster", "--name", _KIND_NAME, "--config", config)
    _run("kubectl", "config", "use-context", f"kind-{_KIND_NAME}")
    for name in images or tuple(_DOCKERFILES):
        if name not in _DOCKERFILES:
            raise ClusterError(f"{name!r} is not one of {', '.join(_DOCKERFILES)}")
        reference = build.image_ref(name)
        say(f"building {reference}")
        dockerfile = str(REPOSITORY / _DOCKERFILES[name])
        _run("docker", "build", "--file", dockerfile, "--tag", reference, str(REPOSITORY))
        _run("kind", "load", "docker-image", reference, "--name", _KIND_NAME)


def up(kind: str, images: Sequence[str], say: Say) -> int:
    """Check the current context's cluster, or make one with kind; return the exit status.

    Raises ClusterError when a program, the cluster or Kubeflow Trainer is missing.
    """
    _demand("kubectl", "install it (https://kubernetes.io/docs/tasks/tools/)")
    if kind == "kind":
        _make_kind(images, say)
    _check_cluster(say)
    return 0
