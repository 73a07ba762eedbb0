"""Bringing the node up: from bare namespaces to a Ready node with working cluster DNS."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from testbed import build, procs, supervise
from testbed.artefacts import Artefacts
from testbed.kubeapi import KubeApi
from testbed.layout import NODE_NAME, Home
from testbed.node import dns, images, namespaces, runtime
from testbed.procs import ProcessId
from testbed.waiting import until

_CNI = ("ptp", "host-local", "loopback", "portmap")
_RUNTIME = ("containerd", "containerd-shim-runc-v2", "ctr", "debian/runc")
_TOOLS = ("debian/iproute2", "debian/iptables", "debian/conntrack")
BINARIES = (
    *_TOOLS,
    *_RUNTIME,
    "kubelet",
    "kube-proxy",
    *(f"cni/{plugin}" for plugin in _CNI),
    "image/pause",
    "image/coredns",
)
IMAGES = ("image/pause", "image/coredns")
_SECONDS = 120.0


def ensure_namespaces(home: Home) -> ProcessId:
    """Have the node's namespaces and control groups; return their first process."""
    return namespaces.ensure(home)


def _plugin_folder(home: Home, built: Artefacts) -> Path:
    """Gather the CNI plugins in one folder, as containerd wants them."""
    folder = home.root / "node" / "cni"
    folder.mkdir(parents=True, exist_ok=True)
    for plugin in _CNI:
        link, target = folder / plugin, built.path(f"cni/{plugin}").resolve()
        if not (link.is_symlink() and link.readlink() == target):
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    return folder


def _start_containerd(home: Home, node: ProcessId, built: Artefacts) -> None:
    runtime.image_store().mkdir(parents=True, exist_ok=True, mode=0o700)
    runc = built.path("debian/runc")
    runtime.write_config(
        home, cni=_plugin_folder(home, built), runc=runc, pause=build.image_ref("image/pause")
    )
    path = runtime.search_path(
        built.path("containerd"), built.path("containerd-shim-runc-v2"), runc,
        built.path("debian/iptables"),
    )  # fmt: skip
    component = runtime.containerd(home, node, built.path("containerd"), path)
    supervise.ensure(home, component)
    images.wait_containerd(home, node, built.path("ctr"))
    if images.forget_dead_containers(home, node, built.path("ctr")):
        supervise.stop(home, component.name)
        supervise.ensure(home, component)
        images.wait_containerd(home, node, built.path("ctr"))


def _heartbeat(api: KubeApi) -> str | None:
    """Return when the kubelet last said that the node is Ready (None: it is not)."""
    answer = api.get(f"/api/v1/nodes/{NODE_NAME}")
    conditions = answer.json()["status"].get("conditions", []) if answer.ok else []
    for condition in conditions:
        if condition["type"] == "Ready" and condition["status"] == "True":
            return str(condition["lastHeartbeatTime"])
    return None


def _wait_node(home: Home, api: KubeApi, stale: str | None) -> None:
    """Wait for a heartbeat other than ``stale``, which an earlier kubelet left."""

    def ready() -> bool:
        for name in ("containerd", "kubelet", "kube-proxy"):
            supervise.demand_alive(home, name)
        return _heartbeat(api) not in (None, stale)

    def complaint() -> str:
        tail = supervise.log_tail(home, "kubelet")
        return f"the node is not Ready after {_SECONDS:.0f} s; the kubelet says:\n{tail}"

    until(ready, _SECONDS, complaint, pause=0.1)


def ensure(
    home: Home, api: KubeApi, built: Artefacts, node: ProcessId, say: Callable[[str], None]
) -> None:
    """Have the node Ready and the cluster's DNS answering.

    Raises ClusterError with the end of the log of what does not work.
    """
    begin = time.monotonic()
    _start_containerd(home, node, built)
    images.load(home, node, built, IMAGES, say)
    path = runtime.search_path(built.path("debian/iptables"), built.path("debian/runc"))
    heartbeat = _heartbeat(api)
    kubelet = runtime.kubelet(home, node, built.path("kubelet"), path)
    fresh = supervise.ensure(home, kubelet)
    stale = heartbeat if fresh else None
    proxy = runtime.proxy(home, node, built.path("kube-proxy"), path)
    fresh |= supervise.ensure(home, proxy)
    dns.apply(api)
    _wait_node(home, api, stale)
    dns.wait()
    verb = "Ready" if fresh else "runs already"
    say(f"node {verb} ({time.monotonic() - begin:.1f} s)")


def process_of(home: Home) -> procs.ProcessId | None:
    """Return the first process of the node's namespaces, when there is one."""
    return supervise.running(home, namespaces.COMPONENT)
