"""Ports on the loopback address: choosing free ones, and naming who holds a taken one."""

from __future__ import annotations

import contextlib
import os
import socket
import zlib
from collections.abc import Collection
from pathlib import Path

from testbed.errors import ClusterError

# Below Linux's range for outgoing connections (32768 up), so that a stopped cluster finds its
# ports free again; the width leaves room for some hundred clusters.
FIRST, COUNT = 20000, 10000

_LISTEN = "0A"


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: sockets in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def candidates(key: str) -> list[int]:
    """Return all ports of the range, starting at a place that depends on ``key``."""
    offset = zlib.crc32(key.encode()) % COUNT
    return [FIRST + (offset + step) % COUNT for step in range(COUNT)]


def choose(names: Collection[str], key: str, taken: Collection[int]) -> dict[str, int]:
    """Choose one free port for each name, none of them in ``taken``.

    Raises ClusterError when the range is used up.
    """
    chosen: dict[str, int] = {}
    ports = iter(candidates(key))
    for name in names:
        for port in ports:
            if port not in taken and is_free(port):
                chosen[name] = port
                break
        else:
            raise ClusterError(
                f"no free port is left between {FIRST} and {FIRST + COUNT - 1} on 127.0.0.1; "
                "stop unused clusters with `python3 -m testbed down --all`"
            )
    return chosen


def listening_inodes(table: str, port: int) -> set[str]:
    """Return the socket inodes that listen on ``port`` in the text of ``/proc/net/tcp``."""
    found: set[str] = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        listens = len(fields) > 9 and fields[3] == _LISTEN
        if listens and int(fields[1].rsplit(":", 1)[1], 16) == port:
            found.add(fields[9])
    return found


def holder(port: int) -> str:
    """Describe the process that listens on the port, as far as this user may know."""
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            inodes |= listening_inodes(Path(table).read_text(), port)
    links = {f"socket:[{inode}]" for inode in inodes}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        # Processes come and go, and those of others cannot be looked into.
        with contextlib.suppress(OSError):
            for fd in (entry / "fd").iterdir():
                if os.readlink(fd) in links:
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    return f"process {entry.name} ({command.strip()[:80]})"
    return "a process of another user"


def demand_free(port: int, address: str, purpose: str, name: str) -> None:
    """Raise ClusterError, naming the holder, when the port is taken."""
    if is_free(port, address):
        return
    raise ClusterError(
        f"port {address}:{port}, which cluster {name!r} uses for {purpose}, is taken by "
        f"{holder(port)}. Stop that process; or give up this cluster's state and get other "
        f"ports: `python3 -m testbed down --name {name}`, then `up` again."
    )
