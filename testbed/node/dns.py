"""The cluster's DNS: CoreDNS behind the service that every pod asks."""

from __future__ import annotations

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


def wait(api: KubeApi) -> None:
    """Wait until the DNS service has a ready pod behind it."""

    def ready() -> bool:
        answer = api.get(f"/apis/apps/v1/namespaces/{_SYSTEM}/deployments/coredns")
        return answer.ok and bool(answer.json()["status"].get("availableReplicas"))

    until(
        ready,
        120.0,
        lambda: "cluster DNS is not ready after 120 s; see `kubectl -n kube-system describe pods`",
        pause=0.1,
    )
