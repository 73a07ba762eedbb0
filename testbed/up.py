"""Bringing a cluster up: idempotent, incremental, and after any interruption."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed import controlplane, kubeconfig, pki, ports, simulated, state, supervise
from testbed.artefacts import Artefacts
from testbed.errors import ClusterError
from testbed.kubeapi import KubeApi
from testbed.layout import Home, all_homes
from testbed.locks import locked
from testbed.ml import install
from testbed.node import images, ownership, running
from testbed.procs import ProcessId
from testbed.state import APISERVER, State, reaches

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller asks for.

    ``images`` are names of built images to load beyond the level's; ``apiserver`` is the name of
    the built part that serves the API.
    """

    level: str = "api"
    kuberay: bool = True
    simulated: int = 0
    images: tuple[str, ...] = ()
    apiserver: str = APISERVER
    kueue: bool = True


@contextmanager
def exclusively(home: Home, say: Say) -> Iterator[None]:
    """Hold the cluster: one command at a time works on it, the others wait."""

    def on_wait(pid: str) -> None:
        say(f"waiting for another command on cluster {home.name} (process {pid})")

    with locked(home.lock, on_wait):
        yield


def _remember(home: Home, wanted: Wanted) -> State:
    known = state.load(home)
    trains = reaches(wanted.level, "ml")
    kuberay, kueue = wanted.kuberay and trains, wanted.kueue and trains
    if known is None:
        root = home.root.parent
        with locked(root / ".locks" / "ports"):
            others = [state.load(other) for other in all_homes(root)]
            taken = {port for other in others if other for port in other.ports.values()}
            # The key is the folder: clusters of one name under other roots begin elsewhere.
            chosen = ports.choose(controlplane.PORTS, str(home.root), taken)
            known = State(
                wanted.level, chosen, kuberay, wanted.simulated,
                apiserver=wanted.apiserver, kueue=kueue,
            )  # fmt: skip
            state.save(home, known)
    if known.apiserver != wanted.apiserver:
        raise ClusterError(
            f"cluster {home.name!r} has {known.apiserver}, not {wanted.apiserver}: take another "
            f"name, or remove it first (python3 -m testbed down --name {home.name})"
        )
    raised = known.raised(wanted.level, kuberay=kuberay, kueue=kueue, simulated=wanted.simulated)
    if raised != known:
        state.save(home, raised)
    return raised


def binaries(target: State) -> tuple[str, ...]:
    """Return the names of all built parts that a cluster of this kind runs, in order of need."""
    names = [*controlplane.BINARIES, target.apiserver]
    if reaches(target.level, "node") or target.simulated:
        names.append("kube-scheduler")
    if target.simulated:
        names.append("kwok")
    if reaches(target.level, "node"):
        names += running.BINARIES
    if reaches(target.level, "ml"):
        names += install.parts(kuberay=target.kuberay, kueue=target.kueue)
    return tuple(names)


def _control_plane(
    home: Home, target: State, built: Artefacts, node: ProcessId | None, say: Say
) -> KubeApi:
    begin = time.monotonic()
    kubeconfig.write_all(home, controlplane.server_url(target))
    controlplane.write_config(home)
    started = supervise.ensure(home, controlplane.etcd(home, target, built.path("etcd")))
    server = controlplane.apiserver(home, target, built.path(target.apiserver))
    started |= supervise.ensure(home, server)
    api = KubeApi(home, controlplane.server_url(target))
    controlplane.wait_ready(home, api)
    binary = built.path("kube-controller-manager")
    manager = controlplane.controller_manager(home, target, binary, node)
    started |= supervise.ensure(home, manager)
    if reaches(target.level, "node") or target.simulated:
        binary = built.path("kube-scheduler")
        started |= supervise.ensure(home, controlplane.scheduler(home, binary))
    controlplane.wait_controllers(home, api)
    controlplane.apply_defaults(api)
    verb = "started" if started else "runs already"
    say(f"control plane {verb} ({time.monotonic() - begin:.1f} s)")
    return api


def _demand_root(level: str) -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            f"level {level!r} runs pods on this machine and needs root: run it with sudo, "
            "or take `--level api`, which needs no rights"
        )


def up(home: Home, wanted: Wanted, say: Say) -> State:
    """Bring the cluster up to what is wanted; what runs already is left alone.

    Raises ClusterError, or BuildError from the build, with what to do about it.
    """
    with exclusively(home, say):
        if reaches(wanted.level, "node"):
            _demand_root(wanted.level)
            ownership.claim(home)
        target = _remember(home, wanted)
        if reaches(target.level, "node"):
            _demand_root(target.level)
            ownership.claim(home)
        names = (*binaries(target), *wanted.images)
        with Artefacts(names) as built:
            _bring_up(home, target, wanted, built, say)
        return target


def _link_kubectl(home: Home, binary: Path) -> None:
    link = home.root / "bin" / "kubectl"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not (link.is_symlink() and link.readlink() == binary):
        link.unlink(missing_ok=True)
        link.symlink_to(binary)


def _bring_up(home: Home, target: State, wanted: Wanted, built: Artefacts, say: Say) -> None:
    built.path("debian/openssl")
    pki.ensure(home.pki)
    _link_kubectl(home, built.path("kubectl"))
    node = None
    if reaches(target.level, "node"):
        built.path("debian/iproute2")
        node = running.ensure_namespaces(home)
    api = _control_plane(home, target, built, node, say)
    if node is not None:
        running.ensure(home, api, built, node, say)
        images.load(home, node, built, wanted.images, say)
    if node is not None and reaches(target.level, "ml"):
        install.ensure(home, target, api, built, node, say)
    if target.simulated:
        simulated.ensure(home, target.simulated, api, built.path("kwok"), say)


def load_images(home: Home, names: tuple[str, ...], say: Say) -> None:
    """Build images and load them into the running node.

    Pods that run keep the image they have; delete them to get the new one. Raises ClusterError
    when the cluster has no running node.
    """
    with exclusively(home, say):
        known, node = state.load(home), running.process_of(home)
        if known is None or node is None:
            raise ClusterError(
                f"cluster {home.name!r} runs no pods; `python3 -m testbed up --level node "
                f"--name {home.name}` makes it"
            )
        with Artefacts(("ctr", *names)) as built:
            images.load(home, node, built, names, say)
