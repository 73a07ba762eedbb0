"""Kubeconfig files, written as JSON (which every YAML reader takes)."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from testbed.layout import Home
from testbed.procs import write_atomically


def render(pki: Path, user: str, server: str, cluster: str) -> str:
    """Return a kubeconfig for the certificate ``user``, with all keys embedded."""

    def embedded(name: str) -> str:
        return base64.b64encode((pki / name).read_bytes()).decode()

    authority = {"server": server, "certificate-authority-data": embedded("ca.crt")}
    credentials = {
        "client-certificate-data": embedded(f"{user}.crt"),
        "client-key-data": embedded(f"{user}.key"),
    }
    context = f"runyard-{cluster}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": authority}],
        "users": [{"name": context, "user": credentials}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }
    return json.dumps(config, indent=1) + "\n"


def write_all(home: Home, server: str) -> None:
    """Write the kubeconfigs of people and components, where they are not yet as wanted."""
    home.config.mkdir(parents=True, exist_ok=True, mode=0o700)
    targets = {"admin": home.kubeconfig}
    for user in ("controller-manager", "scheduler", "proxy", "kubelet"):
        targets[user] = home.config / f"{user}.kubeconfig"
    for user, path in targets.items():
        text = render(home.pki, user, server, home.name)
        if not path.exists() or path.read_text() != text:
            write_atomically(path, text)
