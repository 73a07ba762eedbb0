"""What runs: for people as a table, for programs as JSON."""

from __future__ import annotations

from typing import Any

from testbed import controlplane, state, supervise
from testbed.kubeapi import KubeApi
from testbed.layout import Home


def snapshot(home: Home) -> dict[str, Any] | None:
    """Return the facts of a cluster; None when there is no such cluster."""
    known = state.load(home)
    if known is None:
        return None
    components = []
    for name in supervise.recorded(home):
        process = supervise.running(home, name)
        components.append(
            {
                "name": name,
                "running": process is not None,
                "pid": process.pid if process else None,
                "log": str(home.log(name)),
            }
        )
    return {
        "name": home.name,
        "level": known.level,
        "ready": all(one["running"] for one in components) and _ready(home, known),
        "kubeconfig": str(home.kubeconfig),
        "server": controlplane.server_url(known),
        "auditLog": str(home.audit_log),
        "kuberay": known.kuberay,
        "simulatedNodes": known.simulated,
        "ports": known.ports,
        "components": components,
    }


def _ready(home: Home, known: state.State) -> bool:
    if not home.pki.is_dir():
        return False
    return KubeApi(home, controlplane.server_url(known)).get("/readyz").status == 200


def table(facts: dict[str, Any]) -> str:
    """Return the facts as text, one component a line."""
    ready = "ready" if facts["ready"] else "not ready"
    lines = [
        f"cluster {facts['name']}: level {facts['level']}, {ready}, {facts['server']}",
        f"kubeconfig {facts['kubeconfig']}",
    ]
    for component in facts["components"]:
        what = f"pid {component['pid']}" if component["running"] else "stopped"
        lines.append(f"  {component['name']:26} {what:14} {component['log']}")
    return "\n".join(lines)
