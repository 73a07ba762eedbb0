"""The node's own namespaces: its processes, mounts, sockets and network vanish with one process."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from testbed import procs, supervise
from testbed.errors import ClusterError
from testbed.layout import (
    HOST_ADDRESS,
    NODE_ADDRESS,
    POD_RANGE,
    SERVICE_RANGE,
    Home,
)
from testbed.node import cgroups
from testbed.node.ownership import FIXED_PLACES
from testbed.procs import ProcessId
from testbed.supervise import Component
from testbed.waiting import until

COMPONENT = "node"
HOST_LINK = "runyard0"
_NODE_LINK = "uplink0"

# The first process of the namespaces. It ignores SIGCHLD, so that the kernel clears away every
# orphan by itself; turning into `sleep` tells the outside that the preparation is done.
_SCRIPT = """\
set -eu
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
{binds}
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
trap '' CHLD
exec sleep infinity
"""


def _script(home: Home) -> str:
    binds = []
    for place in FIXED_PLACES:
        own = home.root / "node" / place.strip("/").replace("/", "-")
        binds.append(f"mkdir -p '{own}'; mount --bind '{own}' {place}")
    return _SCRIPT.format(binds="\n".join(binds))


def run_inside(
    node: ProcessId, argv: Sequence[str], kinds: Sequence[str] = ("net", "mount")
) -> subprocess.CompletedProcess[str]:
    """Run a short command inside the node's namespaces and return how it went."""
    enter = ["nsenter", f"--target={node.pid}", *(f"--{kind}" for kind in kinds), "--"]
    return subprocess.run([*enter, *argv], capture_output=True, text=True, check=False)


def _ip(*arguments: str, inside: ProcessId | None = None) -> None:
    command = ["ip", *arguments]
    if inside is None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    else:
        done = run_inside(inside, command, ("net",))
    if done.returncode != 0:
        raise ClusterError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")


def links() -> set[str]:
    """Return the names of this machine's network links."""
    return {path.name for path in Path("/sys/class/net").iterdir()}


def conflicting_routes(table: str) -> list[str]:
    """Return the lines of ``ip route`` that other links hold for addresses the testbed needs."""
    prefixes = tuple(address.rsplit(".", 2)[0] + "." for address in (POD_RANGE, SERVICE_RANGE))
    needed = tuple(f"{prefix.split('.')[0]}.{prefix.split('.')[1]}." for prefix in prefixes)
    lines = (line.strip() for line in table.splitlines())
    return [line for line in lines if line.startswith(needed) and f"dev {HOST_LINK}" not in line]


def _demand_free_addresses() -> None:
    routes = subprocess.run(["ip", "-4", "route"], capture_output=True, text=True, check=True)
    found = conflicting_routes(routes.stdout)
    if found:
        raise ClusterError(
            f"the addresses of the testbed's pods and services ({POD_RANGE}, {SERVICE_RANGE}) "
            f"are routed elsewhere on this machine: {found[0]!r}; stop what made that route"
        )


def remove_cable() -> None:
    """Remove the cable between machine and node; the routes over it go with it."""
    if HOST_LINK in links():
        _ip("link", "delete", HOST_LINK)


def _lay_cable(node: ProcessId) -> None:
    remove_cable()
    _demand_free_addresses()
    _ip("link", "add", HOST_LINK, "type", "veth",
        "peer", "name", _NODE_LINK, "netns", str(node.pid))  # fmt: skip
    _ip("address", "add", f"{HOST_ADDRESS}/30", "dev", HOST_LINK)
    _ip("link", "set", HOST_LINK, "up")
    _ip("address", "add", f"{NODE_ADDRESS}/30", "dev", _NODE_LINK, inside=node)
    _ip("link", "set", _NODE_LINK, "up", inside=node)
    for network in (POD_RANGE, SERVICE_RANGE):
        _ip("route", "replace", network, "via", NODE_ADDRESS, "dev", HOST_LINK)


def _prepared(home: Home, node: ProcessId) -> bool:
    if not procs.is_alive(node):
        tail = supervise.log_tail(home, COMPONENT)
        raise ClusterError(f"the node's namespaces could not be prepared:\n{tail}")
    return Path(f"/proc/{node.pid}/comm").read_text().strip() == "sleep"


def ensure(home: Home) -> ProcessId:
    """Have the node's namespaces and its cable; return their first process.

    Raises ClusterError when the machine refuses namespaces or its addresses are in use.
    """
    script = home.config / "node-init.sh"
    home.config.mkdir(parents=True, exist_ok=True, mode=0o700)
    procs.write_atomically(script, _script(home))
    component = Component(COMPONENT, ("/bin/sh", str(script)), own_namespaces=True)
    if supervise.running(home, COMPONENT) is None:
        cgroups.renew()
    fresh = supervise.ensure(home, component)
    supervise.demand_alive(home, COMPONENT)
    node = supervise.running(home, COMPONENT)
    if node is None:
        raise ClusterError("the node's first process ended at once")
    until(lambda: _prepared(home, node), 10.0, lambda: "the node's namespaces are not ready")
    if fresh or HOST_LINK not in links():
        _lay_cable(node)
    return node
