"""Where a cluster's files lie, and the addresses that every cluster uses inside."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import ClusterError

DEFAULT_NAME = "runyard"
SERVICE_RANGE = "10.214.0.0/16"
KUBERNETES_SERVICE_ADDRESS = "10.214.0.1"
DNS_ADDRESS = "10.214.0.10"
POD_RANGE = "10.213.0.0/24"
# The two ends of the cable between the machine and the node's own network namespace.
HOST_ADDRESS = "10.213.255.1"
NODE_ADDRESS = "10.213.255.2"
LOOPBACK = "127.0.0.1"
NODE_NAME = "node1"
# The mark that every started process carries in its environment, with the cluster's folder.
MARK = "RUNYARD_TESTBED_HOME"

REPOSITORY = Path(__file__).resolve().parent.parent

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


def state_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of all clusters' state, by the XDG rules."""
    base = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base) / "runyard" / "testbed"


def cache_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for what survives a cluster (the image store), by the XDG rules."""
    base = environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "runyard" / "testbed"


@dataclass(frozen=True, slots=True)
class Home:
    """The files of one cluster, all below one folder."""

    name: str
    root: Path

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def lock(self) -> Path:
        return self.root.parent / ".locks" / f"{self.name}.lock"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.log"

    @property
    def records(self) -> Path:
        return self.root / "processes"

    @property
    def etcd_data(self) -> Path:
        return self.root / "etcd"

    def log(self, component: str) -> Path:
        """Return the log file of a component."""
        return self.logs / f"{component}.log"

    def record(self, component: str) -> Path:
        """Return the file with the pid and start time of a component's process."""
        return self.records / f"{component}.json"


def home_of(name: str, root: Path | None = None) -> Home:
    """Return the home of the cluster ``name``.

    Raises ClusterError when the name is no DNS label of at most 40 characters.
    """
    if not _NAME.fullmatch(name):
        raise ClusterError(
            f"cluster name {name!r} is not usable: take lower-case letters, digits and dashes, "
            "at most 40, a letter or digit at both ends"
        )
    return Home(name, (root or state_root()) / name)


def all_homes(root: Path | None = None) -> list[Home]:
    """Return the homes of all clusters that have any state, sorted by name."""
    base = root or state_root()
    if not base.is_dir():
        return []
    return [Home(path.name, path) for path in sorted(base.iterdir()) if _NAME.fullmatch(path.name)]
