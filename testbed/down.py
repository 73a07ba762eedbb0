"""Taking a cluster down so that nothing of it is left."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from testbed import procs, supervise
from testbed.errors import ClusterError
from testbed.layout import Home, all_homes
from testbed.node import cgroups, namespaces, ownership
from testbed.up import exclusively


def mounts_below(table: str, folder: Path) -> list[str]:
    """Return the mount points below ``folder`` in the text of ``/proc/self/mountinfo``.

    The deepest and latest come first, in the order in which they can be unmounted.
    """
    points = []
    for line in table.splitlines():
        point = line.split()[4].replace("\\040", " ").replace("\\011", "\t")
        if Path(point).is_relative_to(folder):
            points.append(point)
    return points[::-1]


def _unmount_all(folder: Path) -> None:
    # The node's mounts live in its own namespace and are gone by now. Should any be seen here
    # all the same, deleting the folder must not reach through it.
    for point in mounts_below(Path("/proc/self/mountinfo").read_text(), folder):
        done = subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"cannot unmount {point}: {done.stderr.decode().strip()}")


def _stop_processes(home: Home) -> None:
    # The node first: with its first process everything in its namespaces ends.
    for name in sorted(supervise.recorded(home), key=lambda name: name != namespaces.COMPONENT):
        supervise.stop(home, name, hard=True)
    for process in supervise.strays(home):
        procs.stop(process, hard=True)


def _leave_machine(home: Home) -> None:
    _stop_processes(home)
    if ownership.owns(home):
        namespaces.remove_cable()
        cgroups.remove()
        _unmount_all(home.root)
        ownership.release(home)


def stop(home: Home, say: Callable[[str], None]) -> bool:
    """Stop the cluster and leave the machine as it was, but keep the cluster's state.

    ``up`` resumes it: objects are there again, pods start anew. Returns False when there is no
    such cluster.
    """
    with exclusively(home, say):
        if not home.root.exists():
            return False
        _leave_machine(home)
    say(f"cluster {home.name} is stopped; `up` resumes it")
    return True


def down(home: Home, say: Callable[[str], None]) -> bool:
    """Stop the cluster and remove all that it made, its data included.

    Safe after any interruption. Returns False when there was no such cluster. Raises
    ClusterError when the rights to do it are missing.
    """
    with exclusively(home, say):
        if not home.root.exists() and not supervise.strays(home):
            return False
        _leave_machine(home)
        if home.root.exists():
            shutil.rmtree(home.root)
    _remove_if_empty(home.lock.parent, home.root.parent)
    say(f"cluster {home.name} is gone")
    return True


def down_all(say: Callable[[str], None], root: Path | None = None) -> int:
    """Take all clusters of this user down; return how many there were."""
    return sum(down(home, say) for home in all_homes(root))


def _remove_if_empty(*folders: Path) -> None:
    for folder in folders:
        # Another command may use the folder this very moment.
        with contextlib.suppress(OSError):
            folder.rmdir()
