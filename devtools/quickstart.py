"""`./dev quickstart`: a cluster, the operator, the example experiment, and its result."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devtools import environment
from devtools.common import ROOT, DevError, heading, output, run, say
from devtools.environment import BIN, Packages

RELEASE = "runyard"
NAMESPACE = "runyard-system"
EXPERIMENT = "quickstart"
EXAMPLE = ROOT / "examples" / "quickstart.yaml"
OPERATOR_IMAGE = "testbed.local/operator:dev"
WORKER_IMAGE = "testbed.local/worker:dev"
IMAGES = ("image/operator", "image/worker")


@dataclass(frozen=True, slots=True)
class Choice:
    """Where to run; images are None where they are built here."""

    cluster: str
    operator_image: str | None = None
    worker_image: str | None = None


def run_quickstart(choice: Choice) -> int:
    """Runs the example to its end; returns the exit code, 0 when it Succeeded.

    Raises:
        DevError: a step cannot be done; the message says which and what to do.
    """
    if choice.cluster == "current" and not (choice.operator_image and choice.worker_image):
        raise DevError(
            "your cluster cannot pull images that are built here: build operator/Dockerfile, push"
            " it, and pass --operator-image and, for the tasks, --worker-image (any image with"
            " Python 3 and PyTorch that is based on Debian or Ubuntu)"
        )
    begin = time.monotonic()
    heading("cluster and packages")
    variables = _prepare(choice)
    heading("operator")
    _install_operator(choice.operator_image or OPERATOR_IMAGE, variables)
    heading("experiment")
    code = _run_experiment(choice.worker_image or WORKER_IMAGE, variables)
    if code == 0:
        _show_results(variables)
    _show_next(choice, variables, time.monotonic() - begin)
    return code


def _prepare(choice: Choice) -> Mapping[str, str]:
    """Brings the cluster up while the packages are installed; returns the environment for both."""
    command = [sys.executable, "-m", "testbed", "up", "--cluster", choice.cluster]
    if choice.cluster == "testbed":
        command += ["--level", "ml", "--without", "kuberay", "--without", "kueue"]
    if choice.cluster != "current":
        command += ["--load", *IMAGES]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        packages = pool.submit(environment.ensure, Packages.CLIENT)
        if run(command) != 0:
            raise DevError("there is no cluster to run on; see above")
        packages.result()
    variables = dict(environment.variables())
    if choice.cluster == "testbed":
        found = output([sys.executable, "-m", "testbed", "kubeconfig"])
        variables["KUBECONFIG"] = found.stdout.strip()
        variables["PATH"] += f"{os.pathsep}{Path(variables['KUBECONFIG']).parent / 'bin'}"
    return variables


def _code_digest() -> str:
    """Changes with the operator's code: an image of the same name would not restart the pod."""
    digest = hashlib.sha256((ROOT / "constraints.txt").read_bytes())
    for folder in ("client", "operator"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _install_operator(image: str, variables: Mapping[str, str]) -> None:
    repository, _, tag = image.rpartition(":")
    values = {
        "image.repository": repository,
        "image.tag": tag,
        "podAnnotations.runyard\\.dev/code": _code_digest(),
    }
    if "@" in image:
        repository, _, digest = image.partition("@")
        values |= {"image.repository": repository, "image.tag": "", "image.digest": digest}
    helm = str(BIN / "helm")
    command = [helm, "upgrade", "--install", RELEASE, "helm/runyard"]
    command += ["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "4m"]
    # The CRDs may be there already, from kubectl.
    command += ["--take-ownership"]
    for key, value in values.items():
        command += ["--set-string", f"{key}={value}"]
    done = output(command, variables)
    if "another operation" in done.stderr:
        # An interrupted helm leaves its release locked. CRDs and experiments outlive the release.
        output([helm, "uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"], variables)
        done = output(command, variables)
    if done.returncode != 0:
        kubectl = ["kubectl", "-n", NAMESPACE, "logs", f"deployment/{RELEASE}"]
        said = output([*kubectl, "--tail=5"], variables)
        raise DevError(
            f"the chart could not be installed: {done.stderr.strip()}\n"
            f"What the operator says ({' '.join(kubectl)}):\n{said.stdout}{said.stderr}"
        )
    say(f"release {RELEASE} is ready in namespace {NAMESPACE}, from {image}")


def _runyard(*arguments: str) -> list[str]:
    return [str(BIN / "runyard"), *arguments]


def _run_experiment(worker_image: str, variables: Mapping[str, str]) -> int:
    listed = output(_runyard("status", "--output", "json"), variables)
    if listed.returncode != 0:
        raise DevError(f"the experiments cannot be listed: {listed.stderr.strip()}")
    if EXPERIMENT in _names(listed.stdout):
        say("deleting the experiment of an earlier run; its data stays on the volume")
        delete = _runyard("delete", EXPERIMENT, "--wait", "--timeout", "5m")
        if run(delete, variables) != 0:
            raise DevError("the experiment of an earlier run cannot be deleted; see above")
    source = EXAMPLE
    if worker_image != WORKER_IMAGE:
        source = environment.VENV / "quickstart.yaml"
        source.write_text(EXAMPLE.read_text().replace(WORKER_IMAGE, worker_image))
    return run(_runyard("apply", "-f", str(source), "--wait", "--timeout", "30m"), variables)


def _names(text: str) -> set[str]:
    """The names in `runyard status -o json`."""
    return {item["metadata"]["name"] for item in json.loads(text)["items"]}


def _show_results(variables: Mapping[str, str]) -> None:
    heading("training, as rank 0 tells it")
    run(_runyard("logs", EXPERIMENT, "train", "--rank", "0"), variables)
    heading("evaluation")
    run(_runyard("logs", EXPERIMENT, "evaluate"), variables)


def _show_next(choice: Choice, variables: Mapping[str, str], seconds: float) -> None:
    heading(f"done in {seconds:.0f} s; look around")
    say(f". {BIN / 'activate'}")
    if choice.cluster == "testbed":
        kubeconfig = variables["KUBECONFIG"]
        say(f"export KUBECONFIG={kubeconfig} PATH=$PATH:{Path(kubeconfig).parent / 'bin'}")
    say(f"runyard status {EXPERIMENT}")
    say("kubectl get experiments.runyard.dev,executionunits.runyard.dev,pods")
    if choice.cluster == "testbed":
        say("./dev down        # removes the cluster; what was built stays for the next time")
