"""The cluster's DNS: CoreDNS behind the service that every pod asks."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import Any

from testbed import build
from testbed.kubeapi import KubeApi
from testbed.layout import DNS_ADDRESS
from testbed.waiting import until

_COREFILE = """\
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
    }
    cache 5
}
"""
_SYSTEM = "kube-system"
_LABELS = {"k8s-app": "kube-dns"}


def _named(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, **more}


def _rbac() -> list[tuple[str, Mapping[str, Any]]]:
    group = "rbac.authorization.k8s.io"
    base = f"/apis/{group}/v1"
    core = {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"]}
    slices = {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"]}
    role = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRole",
        "metadata": _named("system:coredns"),
        "rules": [{**rule, "verbs": ["list", "watch"]} for rule in (core, slices)],
    }
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _named("system:coredns"),
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "system:coredns"},
        "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": _SYSTEM}],
    }
    return [(f"{base}/clusterroles", role), (f"{base}/clusterrolebindings", binding)]


def _pod_spec() -> dict[str, Any]:
    container = {
        "name": "coredns",
        "image": build.image_ref("image/coredns"),
        "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "resources": {"requests": {"cpu": "20m", "memory": "40Mi"}},
        "securityContext": {"runAsUser": 0},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
    }
    return {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }


def manifests() -> list[tuple[str, Mapping[str, Any]]]:
    """Return CoreDNS's objects, each with the path of its collection."""
    core, system = f"/api/v1/namespaces/{_SYSTEM}", {"namespace": _SYSTEM}
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _named("coredns", **system),
    }
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _named("coredns", **system),
        "data": {"Corefile": _COREFILE},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _named("coredns", **system),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _LABELS},
            "template": {"metadata": {"labels": _LABELS}, "spec": _pod_spec()},
        },
    }
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}]
    ports.append({"name": "dns-tcp", "port": 53, "protocol": "TCP"})
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _named("kube-dns", **system),
        "spec": {"clusterIP": DNS_ADDRESS, "selector": _LABELS, "ports": ports},
    }
    return [
        (f"{core}/serviceaccounts", account),
        *_rbac(),
        (f"{core}/configmaps", config),
        (f"/apis/apps/v1/namespaces/{_SYSTEM}/deployments", deployment),
        (f"{core}/services", service),
    ]


def apply(api: KubeApi) -> None:
    """Apply CoreDNS. Raises ClusterError when the API server refuses it."""
    for path, manifest in manifests():
        api.apply(path, manifest)


def query(name: str, identity: int = 1) -> bytes:
    """Return a DNS query for the IPv4 address of ``name``."""
    header = struct.pack("!6H", identity, 0x0100, 1, 0, 0, 0)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return header + labels + b"\0" + struct.pack("!2H", 1, 1)


def has_answer(reply: bytes) -> bool:
    """Tell whether a DNS reply is without error and holds at least one answer."""
    if len(reply) < 12:
        return False
    _identity, flags, _questions, answers = struct.unpack("!4H", reply[:8])
    return bool(flags & 0xF == 0 and answers > 0)


def _answers() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(0.5)
        try:
            asker.connect((DNS_ADDRESS, 53))
            asker.send(query("kubernetes.default.svc.cluster.local"))
            return has_answer(asker.recv(512))
        except OSError:
            return False


def wait() -> None:
    """Wait until the DNS service answers, by asking it: the way of every pod's query."""
    until(
        _answers,
        120.0,
        lambda: "cluster DNS does not answer; see `kubectl -n kube-system describe pods`",
        pause=0.1,
    )
