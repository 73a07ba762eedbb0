"""The control plane: etcd, the API server, the controller manager, the scheduler."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed import procs, supervise
from testbed.kubeapi import KubeApi
from testbed.layout import HOST_ADDRESS, LOOPBACK, SERVICE_RANGE, Home
from testbed.procs import write_atomically
from testbed.state import State, reaches
from testbed.supervise import Component
from testbed.waiting import until

PORTS = ("etcd", "etcd-peer", "apiserver")
BINARIES = ("debian/openssl", "etcd", "kube-controller-manager", "kubectl")
_READY_SECONDS = 90.0

# Writes on what the product makes are counted by tests; reads and chatter would drown them.
AUDIT_POLICY: Mapping[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "verbs": ["get", "list", "watch"]},
        {
            "level": "Metadata",
            "resources": [
                {"group": "runyard.dev"},
                {"group": "batch"},
                {"group": "trainer.kubeflow.org"},
                {"group": "jobset.x-k8s.io"},
                {"group": "ray.io"},
                {"group": "coordination.k8s.io"},
                {"group": "", "resources": ["configmaps", "pods", "secrets"]},
            ],
        },
        {"level": "None"},
    ],
}


def api_address(state: State) -> str:
    """Return the address that the API server listens on: the node's cable once there is a node."""
    return HOST_ADDRESS if reaches(state.level, "node") else LOOPBACK


def server_url(state: State) -> str:
    """Return the URL of the API server."""
    return f"https://{api_address(state)}:{state.ports['apiserver']}"


def etcd(home: Home, state: State, binary: Path) -> Component:
    """Return etcd, without fsync: quick, and safe against everything but a crash of the machine."""
    client = f"https://{LOOPBACK}:{state.ports['etcd']}"
    peer = f"https://{LOOPBACK}:{state.ports['etcd-peer']}"
    pki = home.pki
    argv = (
        str(binary), "--name", "default", "--data-dir", str(home.etcd_data), "--unsafe-no-fsync",
        "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", f"default={peer}", "--quota-backend-bytes", "8589934592",
        "--cert-file", f"{pki}/etcd.crt", "--key-file", f"{pki}/etcd.key",
        "--trusted-ca-file", f"{pki}/etcd-ca.crt", "--client-cert-auth",
        "--peer-cert-file", f"{pki}/etcd.crt", "--peer-key-file", f"{pki}/etcd.key",
        "--peer-trusted-ca-file", f"{pki}/etcd-ca.crt", "--peer-client-cert-auth",
        "--log-level", "warn",
    )  # fmt: skip
    return Component("etcd", argv, listens=(state.ports["etcd"], state.ports["etcd-peer"]))


def apiserver(home: Home, state: State, binary: Path) -> Component:
    """Return the API server, with its audit log always on."""
    pki, port, address = home.pki, state.ports["apiserver"], api_address(state)
    argv = [
        str(binary), "--bind-address", address, "--secure-port", str(port),
        "--advertise-address", HOST_ADDRESS, "--service-cluster-ip-range", SERVICE_RANGE,
        "--etcd-servers", f"https://{LOOPBACK}:{state.ports['etcd']}",
        "--etcd-cafile", f"{pki}/etcd-ca.crt",
        "--etcd-certfile", f"{pki}/etcd.crt", "--etcd-keyfile", f"{pki}/etcd.key",
        "--client-ca-file", f"{pki}/ca.crt",
        "--tls-cert-file", f"{pki}/apiserver.crt", "--tls-private-key-file", f"{pki}/apiserver.key",
        "--service-account-key-file", f"{pki}/sa.pub",
        "--service-account-signing-key-file", f"{pki}/sa.key",
        "--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
        "--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction",
        "--allow-privileged", "--profiling=false",
        "--kubelet-preferred-address-types", "InternalIP",
        "--kubelet-certificate-authority", f"{pki}/ca.crt",
        "--kubelet-client-certificate", f"{pki}/apiserver-kubelet.crt",
        "--kubelet-client-key", f"{pki}/apiserver-kubelet.key",
        "--audit-policy-file", str(home.config / "audit-policy.json"),
        "--audit-log-path", str(home.audit_log),
        "--audit-log-maxsize", "1024", "--audit-log-maxbackup", "1",
    ]  # fmt: skip
    if address == LOOPBACK:
        # Nothing inside the cluster could use the address: do not publish it as an endpoint.
        argv += ["--endpoint-reconciler-type", "none"]
    return Component(
        "kube-apiserver",
        tuple(argv),
        address=address,
        listens=(port,),
        reads=(home.config / "audit-policy.json",),
    )


def controller_manager(
    home: Home, state: State, binary: Path, node: procs.ProcessId | None
) -> Component:
    """Return the controller manager; with a node it provisions volumes for PVCs there."""
    pki, kubeconfig = home.pki, home.config / "controller-manager.kubeconfig"
    argv = [
        str(binary), "--kubeconfig", str(kubeconfig),
        "--service-account-private-key-file", f"{pki}/sa.key", "--root-ca-file", f"{pki}/ca.crt",
        "--cluster-signing-cert-file", f"{pki}/ca.crt",
        "--cluster-signing-key-file", f"{pki}/ca.key",
        "--use-service-account-credentials", "--leader-elect=false", "--profiling=false",
        "--secure-port", "0",
    ]  # fmt: skip
    if node is None:
        return Component("kube-controller-manager", tuple(argv), reads=(kubeconfig,))
    argv.append("--enable-hostpath-provisioner")
    # The provisioner writes below a fixed folder in /tmp; in the node's view of the file system
    # that folder is the cluster's own.
    return Component(
        "kube-controller-manager",
        tuple(argv),
        inside=node,
        namespaces=("mnt",),
        reads=(kubeconfig,),
    )


def scheduler(home: Home, binary: Path) -> Component:
    """Return the scheduler."""
    path = home.config / "scheduler.kubeconfig"
    kubeconfig = str(path)
    argv = (
        str(binary), "--kubeconfig", kubeconfig,
        "--authentication-kubeconfig", kubeconfig, "--authorization-kubeconfig", kubeconfig,
        "--leader-elect=false", "--profiling=false", "--secure-port", "0",
    )  # fmt: skip
    return Component("kube-scheduler", argv, reads=(path,))


def write_config(home: Home) -> None:
    """Write the files that the control plane reads."""
    home.config.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(home.config / "audit-policy.json", json.dumps(AUDIT_POLICY, indent=1))


def wait_ready(home: Home, api: KubeApi) -> None:
    """Wait until the API server says that it is ready.

    Raises ClusterError when etcd or the server dies, or when it takes too long.
    """

    def ready() -> bool:
        for name in ("etcd", "kube-apiserver"):
            supervise.demand_alive(home, name)
        return api.get("/readyz").status == 200

    def complaint() -> str:
        tail = supervise.log_tail(home, "kube-apiserver")
        return f"the API server is not ready after {_READY_SECONDS:.0f} s:\n{tail}"

    until(ready, _READY_SECONDS, complaint)


def wait_controllers(home: Home, api: KubeApi) -> None:
    """Wait until the controllers work: namespaces have their default service account."""

    def working() -> bool:
        supervise.demand_alive(home, "kube-controller-manager")
        return api.get("/api/v1/namespaces/default/serviceaccounts/default").ok

    def complaint() -> str:
        tail = supervise.log_tail(home, "kube-controller-manager")
        return f"the controller manager does not work after {_READY_SECONDS:.0f} s:\n{tail}"

    until(working, _READY_SECONDS, complaint)


STORAGE_CLASS: Mapping[str, Any] = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": "standard",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": "kubernetes.io/host-path",
}


def apply_defaults(api: KubeApi) -> None:
    """Apply what every cluster has: a default StorageClass."""
    api.apply("/apis/storage.k8s.io/v1/storageclasses", STORAGE_CLASS)
