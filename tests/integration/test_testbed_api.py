"""The testbed's level api: up, down, faults in between, several at once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from testbed import state, supervise
from testbed.cluster import Cluster, running_cluster
from testbed.errors import ClusterError
from testbed.layout import REPOSITORY, Home, home_of

pytestmark = pytest.mark.integration

PARTS = ["etcd", "kube-apiserver", "kube-controller-manager"]


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, which it may break."""
    with running_cluster("one", root=tmp_path / "runyard" / "testbed") as running:
        yield running


def _command(state_home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "testbed", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "XDG_STATE_HOME": str(state_home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def _run(state_home: Path, *arguments: str) -> tuple[int, str, str]:
    return _finish(_command(state_home, *arguments))


def _wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come about in 120 s"
        time.sleep(0.02)


def _audited(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in cluster.audit_log.read_text().splitlines()]
    return [event for event in events if event.get("objectRef", {}).get("name") == name]


def _pids(home: Home) -> dict[str, int]:
    found = {name: supervise.running(home, name) for name in supervise.recorded(home)}
    return {name: process.pid for name, process in found.items() if process}


def test_the_audit_log_counts_writes_and_no_reads(cluster: Cluster, namespace: str) -> None:
    """One create of a ConfigMap is one line of the audit log; reads add none."""
    cluster.kubectl("-n", namespace, "create", "configmap", "counted", "--from-literal=a=b")
    for _ in range(3):
        cluster.kubectl("-n", namespace, "get", "configmap", "counted")
    assert [event["verb"] for event in _audited(cluster, "counted")] == ["create"]


def test_a_claim_finds_a_default_storage_class(cluster: Cluster) -> None:
    """PVCs without a class get the class `standard`."""
    classes = json.loads(cluster.kubectl("get", "storageclass", "-o", "json"))["items"]
    defaults = [
        item["metadata"]["name"]
        for item in classes
        if "storageclass.kubernetes.io/is-default-class" in item["metadata"]["annotations"]
    ]
    assert defaults == ["standard"]


def test_a_second_up_changes_nothing(one: Cluster) -> None:
    """What runs already is left alone."""
    before = _pids(one.home)
    one.start()
    assert _pids(one.home) == before
    assert sorted(before) == PARTS


def test_objects_survive_a_hard_stop(one: Cluster) -> None:
    """After SIGKILL of every process, up resumes the cluster with all its objects."""
    one.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    before = _pids(one.home)
    one.hard_stop()
    assert _pids(one.home) == {}
    one.start()
    assert one.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"
    assert not set(_pids(one.home).values()) & set(before.values())


def test_one_component_is_killed_and_comes_back(one: Cluster) -> None:
    """A test can take the API server away; the other parts run on."""
    before = _pids(one.home)
    one.stop("kube-apiserver", hard=True)
    with pytest.raises(subprocess.CalledProcessError):
        one.kubectl("get", "namespaces", "--request-timeout=2s")
    one.start()
    after = _pids(one.home)
    assert after["etcd"] == before["etcd"]
    assert after["kube-apiserver"] != before["kube-apiserver"]
    assert "default" in one.kubectl("get", "namespaces")


def test_stop_keeps_the_state_for_the_next_up(one: Cluster, tmp_path: Path) -> None:
    """`stop` ends all processes; `up` brings back the objects at the same address."""
    one.kubectl("create", "configmap", "kept")
    code, _out, err = _run(tmp_path, "stop", "--name", "one")
    assert (code, _pids(one.home)) == (0, {}), err
    one.start()
    assert one.kubectl("get", "configmap", "kept", "-o", "name").strip() == "configmap/kept"


def test_two_clusters_run_side_by_side(one: Cluster) -> None:
    """Clusters share no port and no object."""
    with running_cluster("two", root=one.home.root.parent) as two:
        one.kubectl("create", "configmap", "here")
        assert "here" not in two.kubectl("get", "configmaps")
        first, second = state.load(one.home), state.load(two.home)
        assert first is not None
        assert second is not None
        assert not set(first.ports.values()) & set(second.ports.values())


def test_two_ups_at_once_make_one_cluster(tmp_path: Path) -> None:
    """The second waits for the first and finds everything running."""
    both = [_command(tmp_path, "up", "--name", "both") for _ in range(2)]
    results = [_finish(process) for process in both]
    try:
        assert [code for code, _out, _err in results] == [0, 0], results
        assert len({out for _code, out, _err in results}) == 1
        assert sum("control plane started" in err for _code, _out, err in results) == 1
        code, out, _err = _run(tmp_path, "status", "--name", "both", "-o", "json")
        facts = json.loads(out)
        assert (code, facts["ready"], facts["level"]) == (0, True, "api")
        assert [part["name"] for part in facts["components"] if part["running"]] == PARTS
    finally:
        _run(tmp_path, "down", "--name", "both")


@pytest.mark.parametrize(
    ("signum", "moment"),
    [
        (signal.SIGINT, "etcd"),
        (signal.SIGTERM, "kube-apiserver"),
        (signal.SIGKILL, "etcd"),
        (signal.SIGKILL, "kube-apiserver"),
        (signal.SIGKILL, "kube-controller-manager"),
    ],
)
def test_an_interrupted_up_is_taken_up_again(
    tmp_path: Path, signum: signal.Signals, moment: str
) -> None:
    """Whenever `up` is ended, the next one goes on, and no process is left unknown."""
    home = home_of("cut", tmp_path / "runyard" / "testbed")
    process = _command(tmp_path, "up", "--name", "cut")
    _wait(lambda: home.record(moment).exists())
    process.send_signal(signum)
    _finish(process)
    with running_cluster("cut", root=home.root.parent) as resumed:
        assert resumed.kubectl("get", "namespace", "default", "-o", "name")
        assert sorted(_pids(home)) == PARTS
        assert {stray.pid for stray in supervise.strays(home)} == set(_pids(home).values())


def test_down_after_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    """No process, no file and no lock of a half-made cluster is left."""
    home = home_of("cut", tmp_path / "runyard" / "testbed")
    process = _command(tmp_path, "up", "--name", "cut")
    _wait(lambda: home.record("etcd").exists())
    process.kill()
    _finish(process)
    code, _out, err = _run(tmp_path, "down", "--name", "cut")
    assert code == 0, err
    assert supervise.strays(home) == []
    assert not (tmp_path / "runyard" / "testbed").exists()


def test_down_finds_a_process_whose_record_is_lost(one: Cluster) -> None:
    """Every process carries the cluster's mark: damaged records do not hide it."""
    for name in one.components():
        one.home.record(name).write_text("{")
    one.down()
    assert supervise.strays(one.home) == []


def test_a_taken_port_is_named_with_its_holder(one: Cluster) -> None:
    """When somebody took the port of a stopped cluster, up says who and what to do."""
    known = state.load(one.home)
    assert known is not None
    one.hard_stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", known.ports["apiserver"]))
        other.listen(1)
        with pytest.raises(ClusterError) as caught:
            one.start()
    message = str(caught.value)
    expected: Sequence[str] = (
        str(known.ports["apiserver"]), "kube-apiserver", f"process {os.getpid()}",
        "testbed down --name one",
    )  # fmt: skip
    assert [part for part in expected if part not in message] == []
    one.start()


def test_a_component_that_cannot_start_is_shown_with_its_log(one: Cluster) -> None:
    """Damaged data of etcd ends in an error with the component's name and its last lines."""
    one.hard_stop()
    for path in one.home.etcd_data.rglob("*.snap"):
        path.unlink()
    (one.home.etcd_data / "member" / "snap" / "db").write_text("not a database")
    with pytest.raises(ClusterError, match=r"etcd of cluster 'one' ended.*etcd\.log"):
        one.start()


def test_pods_need_root(tmp_path: Path) -> None:
    """Without root, level node is refused before anything is started."""
    command = [sys.executable, "-m", "testbed", "up", "--level", "node", "--name", "nobody"]
    done = subprocess.run(
        ["unshare", "--user", "--map-user=65534", *command],
        cwd=REPOSITORY,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "needs root" in done.stderr
    assert not home_of("nobody", tmp_path / "runyard" / "testbed").root.exists()


def _existing(kind: str, kubeconfig: Path, *folders: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "testbed", "up", "--cluster", kind],
        cwd=REPOSITORY,
        env={"PATH": ":".join(map(str, folders)), "KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_the_current_cluster_is_checked_for_trainer(cluster: Cluster) -> None:
    """Without Kubeflow Trainer the command that installs it is shown."""
    code, err = _existing("current", cluster.kubeconfig, cluster.home.root / "bin")
    assert code == 1
    assert "kubectl apply --server-side" in err


def test_a_current_cluster_that_does_not_answer_is_named(one: Cluster, tmp_path: Path) -> None:
    """The message names the context and what to choose instead."""
    one.hard_stop()
    code, err = _existing("current", one.kubeconfig, one.home.root / "bin", tmp_path)
    assert code == 1
    assert "'runyard-one' does not answer" in err


def test_missing_programs_are_named(cluster: Cluster, tmp_path: Path) -> None:
    """Without docker or kubectl it says which one and where to get it."""
    code, err = _existing("kind", cluster.kubeconfig, cluster.home.root / "bin")
    assert (code, "program docker is missing" in err) == (1, True), err
    code, err = _existing("current", cluster.kubeconfig, tmp_path)
    assert (code, "program kubectl is missing" in err) == (1, True), err


@pytest.mark.parametrize("command", ["status", "kubeconfig"])
def test_a_missing_cluster_is_said_so(tmp_path: Path, command: str) -> None:
    """Asking about a cluster that is not there names the command that makes it."""
    code, out, err = _run(tmp_path, command, "--name", "none")
    assert (code, out) == (1, "")
    assert "testbed up --name none" in err


def test_simulated_nodes_run_pods(tmp_path: Path) -> None:
    """A pod that tolerates the mark lands on a simulated node and runs at once."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "fake"},
        "spec": {
            "containers": [{"name": "c", "image": "none"}],
            "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
        },
    }
    with running_cluster("many", simulated=3, root=tmp_path) as cluster:
        nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
        assert len(nodes) == 3
        cluster.kubectl("apply", "-f", "-", text=json.dumps(pod))
        cluster.kubectl("wait", "pod/fake", "--for=condition=Ready", "--timeout=60s")
