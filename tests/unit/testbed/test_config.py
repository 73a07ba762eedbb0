"""What the components are told to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed import controlplane, kubeconfig, state
from testbed.errors import ClusterError
from testbed.layout import Home
from testbed.procs import ProcessId
from testbed.state import State
from testbed.up import Wanted, up

_HOME = Home("one", Path("/state/one"))
_PORTS = {"etcd": 20001, "etcd-peer": 20002, "apiserver": 20003}


def _option(argv: tuple[str, ...], name: str) -> str:
    return argv[argv.index(name) + 1]


@pytest.mark.parametrize(
    ("level", "address"), [("api", "127.0.0.1"), ("node", "10.213.255.1"), ("ml", "10.213.255.1")]
)
def test_the_api_server_listens_where_its_clients_are(level: str, address: str) -> None:
    """Level api stays on loopback; with pods it is the machine's end of the node's cable."""
    component = controlplane.apiserver(_HOME, State(level, _PORTS), Path("/bin/apiserver"))
    assert _option(component.argv, "--bind-address") == address
    assert controlplane.server_url(State(level, _PORTS)) == f"https://{address}:20003"


def test_audited_are_writes_on_what_tests_count() -> None:
    """Reads are dropped first, counted groups come next, all else is dropped."""
    rules = controlplane.AUDIT_POLICY["rules"]
    assert rules[0] == {"level": "None", "verbs": ["get", "list", "watch"]}
    groups = {resource["group"] for resource in rules[1]["resources"]}
    assert {"runyard.dev", "batch", "trainer.kubeflow.org", "ray.io", "jobset.x-k8s.io"} < groups
    assert rules[-1] == {"level": "None"}


def test_volumes_are_provisioned_only_where_pods_run() -> None:
    """The host-path provisioner needs the node's own view of the file system."""
    known, binary = State("api", _PORTS), Path("/bin/kcm")
    plain = controlplane.controller_manager(_HOME, known, binary, None)
    inside = controlplane.controller_manager(_HOME, known, binary, ProcessId(5, 6, "b"))
    assert "--enable-hostpath-provisioner" not in plain.argv
    assert "--enable-hostpath-provisioner" in inside.argv
    assert inside.namespaces == ("mnt",)


def test_a_change_of_program_or_configuration_changes_the_digest(tmp_path: Path) -> None:
    """A component is restarted when it should run otherwise, and only then."""
    home = Home("one", tmp_path)
    home.config.mkdir()
    kubeconfig = home.config / "scheduler.kubeconfig"
    kubeconfig.write_text("server: a")
    one = controlplane.scheduler(home, Path("/bin/a")).digest()
    assert one == controlplane.scheduler(home, Path("/bin/a")).digest()
    assert one != controlplane.scheduler(home, Path("/bin/b")).digest()
    kubeconfig.write_text("server: b")
    assert one != controlplane.scheduler(home, Path("/bin/a")).digest()


def test_a_kubeconfig_carries_everything(tmp_path: Path) -> None:
    """Keys are embedded, so that the file works wherever it is copied."""
    for name in ("ca.crt", "admin.crt", "admin.key"):
        (tmp_path / name).write_text(name)
    config = json.loads(kubeconfig.render(tmp_path, "admin", "https://127.0.0.1:1", "one"))
    assert config["current-context"] == "runyard-one"
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert str(tmp_path) not in json.dumps(config)


def test_levels_only_rise() -> None:
    """Asking for less than there is takes nothing away."""
    known = State("ml", _PORTS, kuberay=True, simulated=5, kueue=True)
    assert known.raised("api", kuberay=False, kueue=False, simulated=0) == known
    assert State("api", _PORTS, kuberay=False).raised(
        "node", kuberay=True, kueue=True, simulated=3
    ) == State("node", _PORTS, kuberay=True, simulated=3, kueue=True)


def test_state_survives_the_file(tmp_path: Path) -> None:
    """What is saved is what is loaded."""
    home, known = Home("one", tmp_path / "one"), State("node", _PORTS, applied={"JobSet": "x"})
    assert state.load(home) is None
    state.save(home, known)
    assert state.load(home) == known


@pytest.mark.parametrize("text", ["{", "[]", '{"level": "api"}', '{"unknown": 1}'])
def test_damaged_state_is_an_error_with_advice(tmp_path: Path, text: str) -> None:
    """The message says how to get rid of a cluster whose state cannot be read."""
    home = Home("one", tmp_path)
    home.state.write_text(text)
    with pytest.raises(ClusterError, match="testbed down --name one"):
        state.load(home)


def test_a_cluster_keeps_its_api_server(tmp_path: Path) -> None:
    """Another version is not started on the data of a first one; the user is told what to do."""
    home = Home("one", tmp_path / "one")
    state.save(home, State("api", _PORTS))
    with pytest.raises(ClusterError, match="has kube-apiserver, not kube-apiserver-oldest"):
        up(home, Wanted(apiserver="kube-apiserver-oldest"), lambda _line: None)
