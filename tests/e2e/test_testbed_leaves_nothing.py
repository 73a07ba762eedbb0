"""What the machine looks like after a cluster with pods: as it did before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed import supervise
from testbed.build import image_ref
from testbed.cluster import Cluster, running_cluster, start_cluster
from testbed.down import down, stop
from testbed.layout import MARK, REPOSITORY, Home, home_of
from testbed.node import cgroups, ownership

pytestmark = [pytest.mark.e2e, pytest.mark.exclusive]


def _output(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return sorted(done.stdout.splitlines())


def _node_processes() -> list[str]:
    """Return the node's own processes and those of its pods: both live in a pid namespace apart."""
    own, found = os.readlink("/proc/self/ns/pid"), []
    for entry in Path("/proc").iterdir():
        try:
            apart = entry.name.isdigit() and os.readlink(entry / "ns" / "pid") != own
            marked = apart and MARK in (entry / "environ").read_bytes().decode(errors="replace")
            if marked or (apart and cgroups.PARENT in (entry / "cgroup").read_text()):
                found.append(entry.name)
        except OSError:  # it ended meanwhile
            continue
    return found


def _machine() -> dict[str, Any]:
    """Return all that a node touches: mounts, network, firewall, groups, settings, folders."""
    groups = _output("find", "/sys/fs/cgroup", "-type", "d", "-name", "*runyard*")
    rules = [line for line in _output("iptables-save") if not line.startswith("#")]
    owner_files = ["/run/runyard-testbed", "/run/containerd", "/etc/cni", "/opt/containerd"]
    settings = [f"/proc/sys/{name}" for name in ownership.KERNEL_SETTINGS]
    forwarding = "/proc/sys/net/ipv4/ip_forward"
    return {
        "mounts": sorted(
            line.split(" ", 3)[3] for line in Path("/proc/self/mountinfo").read_text().splitlines()
        ),
        "links": _output("ls", "/sys/class/net"),
        "routes": _output("ip", "-4", "route"),
        "rules": [rule for rule in rules if not rule.startswith(":")],
        "chains": [rule.split()[0] for rule in rules if rule.startswith(":")],
        "processes": _node_processes(),
        "groups": groups,
        "settings": {path: Path(path).read_text() for path in [*settings, forwarding]},
        "folders": [
            path for path in [*ownership.FIXED_PLACES, *owner_files] if Path(path).exists()
        ],
    }


@pytest.fixture(scope="module")
def bare_machine(cluster: Cluster) -> Iterator[None]:
    """The machine without the run's cluster, which is stopped and resumed afterwards."""
    stop(cluster.home, cluster.say)
    yield
    cluster.start()


def _run_a_pod_with_a_volume(cluster: Cluster) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    container = {
        "name": "main",
        "image": image_ref("image/pause"),
        "ports": [{"containerPort": 80, "hostPort": 8090}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod"},
        "spec": {
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    }
    items = {"apiVersion": "v1", "kind": "List", "items": [claim, pod]}
    cluster.kubectl("apply", "-f", "-", text=json.dumps(items))
    cluster.kubectl("wait", "pod/pod", "--for=condition=Ready", "--timeout=180s")


def _cut_short(home: Home) -> None:
    """Start a cluster with a node and kill the command in the middle."""
    process = subprocess.Popen(
        [sys.executable, "-m", "testbed", "up", "--level", "node", "--name", home.name],
        cwd=REPOSITORY,
        env={**os.environ, "XDG_STATE_HOME": str(home.root.parent.parent.parent)},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not home.record("containerd").exists():
        assert time.monotonic() < deadline, "containerd was not started in 120 s"
        time.sleep(0.02)
    process.kill()
    process.wait()


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize("ending", ["down", "hard stop, then down", "stop, up, down"])
def test_down_leaves_the_machine_as_it_was(tmp_path: Path, ending: str) -> None:
    """Mounts, links, routes, firewall, groups, settings, processes and folders are as before."""
    root = tmp_path / "runyard" / "testbed"
    before, home = _machine(), home_of("brief", root)
    with running_cluster("brief", "node", root=root) as brief:
        _run_a_pod_with_a_volume(brief)
        assert _machine() != before
        if ending.startswith("hard"):
            brief.hard_stop()
        if ending.startswith("stop"):
            stop(home, brief.say)
            assert _machine() == before
            brief.start()
            brief.kubectl("wait", "pod/pod", "--for=condition=Ready", "--timeout=180s")
    assert _machine() == before
    assert supervise.strays(home) == []
    assert not root.exists()


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize("resumed", [True, False])
def test_an_interrupted_up_is_taken_up_or_down(tmp_path: Path, resumed: bool) -> None:
    """A killed `up --level node` is finished by the next one, or removed without a trace."""
    root = tmp_path / "runyard" / "testbed"
    before, home = _machine(), home_of("brief", root)
    try:
        _cut_short(home)
        if resumed:
            _run_a_pod_with_a_volume(start_cluster("brief", "node", root=root))
    finally:
        down(home, print)
    assert _machine() == before
    assert supervise.strays(home) == []


@pytest.mark.usefixtures("bare_machine")
def test_a_cluster_of_level_api_rises_to_node(tmp_path: Path) -> None:
    """The same cluster gets a node and keeps its objects and its kubeconfig's path."""
    root = tmp_path / "runyard" / "testbed"
    with running_cluster("brief", "api", root=root) as brief:
        brief.kubectl("create", "configmap", "kept")
        raised = start_cluster("brief", "node", root=root)
        assert raised.kubeconfig == brief.kubeconfig
        assert raised.kubectl("get", "configmap", "kept", "-o", "name") == "configmap/kept\n"
        _run_a_pod_with_a_volume(raised)
