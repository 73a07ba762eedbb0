"""Simulated nodes, by kwok: pods bound to them run at once and cost nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed import procs, stages, supervise
from testbed.kubeapi import KubeApi
from testbed.layout import Home
from testbed.supervise import Component
from testbed.waiting import until

COMPONENT = "kwok"
# kwok's own words: pods need the toleration, so that no real work lands on a simulated node.
_MARK = "kwok.x-k8s.io/node"
_CAPACITY = {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "8"}


def node_name(index: int) -> str:
    """Return the name of a simulated node, numbered from 0."""
    return f"simulated-{index}"


def manifest(index: int) -> dict[str, Any]:
    """Return one simulated node, as large as a common GPU machine."""
    name = node_name(index)
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "type": "kwok"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {_MARK: "fake"}},
        "spec": {"taints": [{"key": _MARK, "value": "fake", "effect": "NoSchedule"}]},
    }


def _component(home: Home, binary: Path) -> Component:
    argv = (
        str(binary), "--kubeconfig", str(home.kubeconfig), "--manage-all-nodes=false",
        "--config", str(home.config / "kwok.yaml"),
        f"--manage-nodes-with-annotation-selector={_MARK}=fake",
        "--cidr", "10.215.0.0/16", "--node-ip", "10.215.255.1",
        "--node-lease-duration-seconds", "40",
    )  # fmt: skip
    return Component(COMPONENT, argv, reads=(home.config / "kwok.yaml", home.kubeconfig))


def ensure(home: Home, count: int, api: KubeApi, binary: Path, say: Callable[[str], None]) -> None:
    """Have ``count`` simulated nodes, all Ready.

    Raises ClusterError when kwok ends or the nodes do not become Ready.
    """
    begin = time.monotonic()
    procs.write_atomically(home.config / "kwok.yaml", stages.render())
    supervise.ensure(home, _component(home, binary))
    there = {node["metadata"]["name"] for node in api.get("/api/v1/nodes").json()["items"]}
    for index in range(count):
        if node_name(index) in there:
            continue
        one = manifest(index)
        api.apply("/api/v1/nodes", one)
        status = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": node_name(index)},
            "status": {"capacity": _CAPACITY, "allocatable": _CAPACITY},
        }
        api.apply_status("/api/v1/nodes", status)

    def ready() -> bool:
        supervise.demand_alive(home, COMPONENT)
        nodes = api.get("/api/v1/nodes?labelSelector=type=kwok").json()["items"]
        return sum(map(_is_ready, nodes)) >= count

    until(ready, 60.0 + count / 10, lambda: f"not all of {count} simulated nodes become Ready", 0.2)
    say(f"{count} simulated nodes Ready ({time.monotonic() - begin:.1f} s)")


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
