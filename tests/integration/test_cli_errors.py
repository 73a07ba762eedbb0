"""What the command line says when something is wrong with cluster, rights or names."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster import Cluster
from tests.support.cli import Cli
from tests.support.experiments import experiment, job
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.integration

COMMANDS: dict[str, tuple[str, ...]] = {
    "status": ("status",),
    "status of one": ("status", "demo"),
    "watch": ("status", "-w", "demo"),
    "logs": ("logs", "demo"),
    "cancel": ("cancel", "demo"),
    "delete": ("delete", "demo"),
    "apply": ("apply", "-f", "-"),
}
MANIFEST = json.dumps(experiment("demo", job("first", "true")))


def altered(running: Cluster, path: Path, **changes: Any) -> Path:
    """A copy of the cluster's kubeconfig with changes of its only cluster or user."""
    document = json.loads(running.kubeconfig.read_text())
    for part, values in changes.items():
        document[f"{part}s"][0][part].update(values)
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_a_cluster_that_is_away_is_explained(
    command: str, cluster: Cluster, tmp_path: Path
) -> None:
    """Address and context are named; no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = {"server": f"https://127.0.0.1:{port}"}
    config = altered(cluster, tmp_path / "config", cluster=server)
    done = Cli(config, "default").run(*COMMANDS[command], stdin=MANIFEST)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot reach the API server https://127.0.0.1:{port}")
    assert "Connection refused" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_traceback_is_shown_on_demand(cluster: Cluster, tmp_path: Path) -> None:
    """--debug is for those who report a bug."""
    config = altered(cluster, tmp_path / "config", cluster={"server": "https://127.0.0.1:1"})
    assert "Traceback" in Cli(config, "default").run("status", "--debug").stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_rights_name_the_verb_and_the_resource(
    command: str, cluster: Cluster, kube: Kubectl, tmp_path: Path
) -> None:
    """Whoever may not is told what to ask for."""
    config = altered(cluster, tmp_path / "config", user={"as": "ann"})
    done = Cli(config, kube.namespace).run(*COMMANDS[command], stdin=MANIFEST)
    assert done.returncode == 1
    verb = "list" if command == "status" else "get"
    wanted = f"ann may not {verb} experiments.runyard.dev in namespace {kube.namespace}"
    assert wanted in done.stderr
    assert f"kubectl auth can-i {verb} experiments.runyard.dev -n {kube.namespace}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_watch_without_the_right_ends(cluster: Cluster, kube: Kubectl, tmp_path: Path) -> None:
    """To get is not to watch: the missing verb is named instead of waiting for ever."""
    kube.apply(experiment("demo", job("first", "true")))
    kube.run("create", "role", "reader", "--verb=get", "--resource=experiments.runyard.dev")
    kube.run("create", "rolebinding", "reader", "--role=reader", "--user=ann")
    config = altered(cluster, tmp_path / "config", user={"as": "ann"})
    with Cli(config, kube.namespace).start("status", "-w", "demo") as running:
        running.wait_for("ann may not list")
        assert running.finish() == 1


def test_refused_credentials_are_explained(cluster: Cluster, tmp_path: Path) -> None:
    """A token that is no longer good asks for a new login."""
    bad = {"client-certificate-data": "", "client-key-data": "", "token": "expired"}
    config = altered(cluster, tmp_path / "config", user=bad)
    done = Cli(config, "default").run("status")
    assert done.returncode == 1
    assert "does not accept your credentials" in done.stderr


def test_a_foreign_certificate_is_explained(cluster: Cluster, tmp_path: Path) -> None:
    """A server that is not the one of the kubeconfig is not talked to."""
    config = altered(cluster, tmp_path / "config", cluster={"tls-server-name": "other.example"})
    done = Cli(config, "default").run("status")
    assert done.returncode == 1
    assert "its certificate is not trusted" in done.stderr


def test_a_cluster_without_runyard_says_how_to_install_it(cluster: Cluster, kube: Kubectl) -> None:
    """Missing resource definitions are told apart from a missing object."""
    cli = Cli(cluster.kubeconfig, kube.namespace)
    crds = [
        f"{plural}.runyard.dev"
        for plural in ("experiments", "executionunits", "executionprofiles", "backends")
    ]
    kube.run("delete", "crd", *crds, "--timeout=120s")
    for command in COMMANDS.values():
        done = cli.run(*command, stdin=MANIFEST)
        assert done.returncode == 1
        assert "Runyard is not installed in this cluster" in done.stderr
        assert "helm install runyard" in done.stderr
    assert "runyard.dev/v1alpha1 is not installed" in cli.run("version").stdout


def test_a_wrong_name_shows_near_ones(cluster: Cluster, kube: Kubectl) -> None:
    """A mistyped experiment, or namespace, is met with a question."""
    kube.apply(experiment("pretrain", job("first", "true")))
    cli = Cli(cluster.kubeconfig, kube.namespace)
    done = cli.run("status", "pretrian")
    assert done.returncode == 1
    assert f"there is no experiment 'pretrian' in namespace '{kube.namespace}'" in done.stderr
    assert "did you mean pretrain?" in done.stderr
    assert "there are: pretrain" in cli.run("logs", "xyz").stderr
    lost = Cli(cluster.kubeconfig, "defualt").run("status", "pretrain")
    assert "there is no namespace 'defualt'\ndid you mean default?" in lost.stderr


def test_an_unknown_task_lists_those_there_are(cluster: Cluster, kube: Kubectl) -> None:
    """Logs knows the tasks of the experiment."""
    kube.apply(experiment("demo", job("prepare", "true"), job("train", "true")))
    cli = Cli(cluster.kubeconfig, kube.namespace)
    assert "its tasks are: prepare, train" in cli.run("logs", "demo", "xyz").stderr
    assert "did you mean train?" in cli.run("logs", "demo", "trian").stderr


def test_a_task_without_a_log_says_why(cluster: Cluster, kube: Kubectl) -> None:
    """A task that has not begun is told apart from one whose pods are gone."""
    kube.apply(experiment("demo", job("prepare", "true")))
    done = Cli(cluster.kubeconfig, kube.namespace).run("logs", "demo", "prepare")
    assert done.returncode == 1
    assert "prepare has no log yet: it is Pending; wait for it with -f" in done.stderr


def test_version_works_without_a_cluster(tmp_path: Path) -> None:
    """No cluster is no failure for version."""
    done = Cli(tmp_path / "none", "default", {"HOME": str(tmp_path)}).run("version")
    assert done.returncode == 0
    assert "Server:   not known: no cluster is configured" in done.stdout
