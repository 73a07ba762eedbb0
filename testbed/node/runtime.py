"""containerd, kubelet and kube-proxy: their configuration and how they are started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.layout import (
    DNS_ADDRESS,
    NODE_ADDRESS,
    NODE_NAME,
    POD_RANGE,
    Home,
    cache_root,
)
from testbed.node.cgroups import PARENT
from testbed.procs import ProcessId, write_atomically
from testbed.supervise import Component

SOCKET = "/run/containerd/containerd.sock"
_ALL = ("net", "mnt", "pid")
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

_CONTAINERD = """\
version = 3
root = "{root}"
state = "/run/containerd/state"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "{socket}"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{pause}"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["{cni}"]
  conf_dir = "{cni_config}"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
    BinaryName = "{runc}"
    SystemdCgroup = false
"""

# Point-to-point links, all traffic routed: services work without a bridge and its netfilter hook.
_NETWORK: Mapping[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "runyard",
    "plugins": [
        {
            "type": "ptp",
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni",
                "ranges": [[{"subnet": POD_RANGE}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}


def image_store() -> Path:
    """Return containerd's root: it outlives clusters, so that images are unpacked once."""
    return cache_root() / "image-store"


def search_path(*programs: Path) -> str:
    """Return a PATH that finds the programs first, then what the system has."""
    folders = dict.fromkeys(str(program.parent) for program in programs)
    return ":".join((*folders, _SYSTEM_PATH))


def _kubelet_config(home: Home) -> dict[str, Any]:
    pki = home.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{pki}/kubelet.key",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{PARENT}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "resolvConf": str(home.config / "resolv.conf"),
        "podLogsDir": str(home.root / "pod-logs"),
        "volumePluginDir": str(home.root / "node" / "volume-plugins"),
        "oomScoreAdj": 0,
        # Nothing can be pulled again, and a full disk is the owner's to see to.
        "imageGCHighThresholdPercent": 100,
        "imageMinimumGCAge": "24h",
        # Logs stay whole: the default rotates, and forgets, after 10 MB.
        "containerLogMaxSize": "512Mi",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "maxPods": 200,
        "serializeImagePulls": False,
        # Managers wait until the certificates that they write into a Secret come back as files.
        "syncFrequency": "2s",
        "nodeStatusUpdateFrequency": "5s",
        "shutdownGracePeriod": "0s",
    }


def write_config(home: Home, *, cni: Path, runc: Path, pause: str) -> None:
    """Write the configuration files of containerd, CNI and the kubelet."""
    config = home.config
    network = config / "cni"
    network.mkdir(parents=True, exist_ok=True)
    write_atomically(network / "10-runyard.conflist", json.dumps(_NETWORK, indent=1))
    text = _CONTAINERD.format(
        root=image_store(), socket=SOCKET, pause=pause, cni=cni, cni_config=network, runc=runc
    )
    write_atomically(config / "containerd.toml", text)
    write_atomically(config / "kubelet.json", json.dumps(_kubelet_config(home), indent=1))
    # Names outside the cluster are not resolved: the pods have no way out anyway.
    write_atomically(config / "resolv.conf", "")


def containerd(home: Home, node: ProcessId, binary: Path, path: str) -> Component:
    """Return containerd."""
    argv = (str(binary), "--config", str(home.config / "containerd.toml"), "--log-level", "warn")
    reads = (home.config / "containerd.toml",)
    return Component("containerd", argv, {"PATH": path}, node, _ALL, reads=reads)


def kubelet(home: Home, node: ProcessId, binary: Path, path: str) -> Component:
    """Return the kubelet."""
    argv = (
        str(binary), "--config", str(home.config / "kubelet.json"),
        "--kubeconfig", str(home.config / "kubelet.kubeconfig"),
        "--hostname-override", NODE_NAME, "--node-ip", NODE_ADDRESS,
        # In the node's view the cluster's own folder; a long path would break the sockets in it.
        "--root-dir", "/var/lib/kubelet",
    )  # fmt: skip
    reads = (home.config / "kubelet.json", home.config / "kubelet.kubeconfig")
    return Component("kubelet", argv, {"PATH": path}, node, _ALL, reads=reads)


def proxy(home: Home, node: ProcessId, binary: Path, path: str) -> Component:
    """Return kube-proxy; it leaves the connection tracking settings of the machine alone."""
    argv = (
        str(binary), "--kubeconfig", str(home.config / "proxy.kubeconfig"),
        "--proxy-mode", "iptables", "--cluster-cidr", POD_RANGE,
        "--hostname-override", NODE_NAME, "--oom-score-adj", "0",
        "--conntrack-max-per-core", "0", "--conntrack-tcp-timeout-established", "0",
        "--conntrack-tcp-timeout-close-wait", "0",
    )  # fmt: skip
    reads = (home.config / "proxy.kubeconfig",)
    return Component("kube-proxy", argv, {"PATH": path}, node, _ALL, reads=reads)
