"""The control groups of the node's pods, all below one parent of our own."""

from __future__ import annotations

import contextlib
from pathlib import Path

from testbed.waiting import until

PARENT = "runyard-testbed"
# All pods together would otherwise get as much of a busy machine as any one process outside.
_WEIGHTS = {"cpu.shares": "16384", "cpu.weight": "1600"}
_MOUNT = Path("/sys/fs/cgroup")


def _hierarchies() -> list[Path]:
    """Return the mounted hierarchies: several in version 1, the root alone in version 2."""
    if (_MOUNT / "cgroup.controllers").exists():
        return [_MOUNT]
    return sorted({path.resolve() for path in _MOUNT.iterdir() if path.is_dir()})


def renew() -> None:
    """Make the parent group anew; groups of dead pods would hold the kubelet up for seconds each.

    Only for a node without processes. Raises ClusterError as ``remove`` does.
    """
    remove()
    create()


def create() -> None:
    """Make the parent group in every hierarchy, with all controllers that there are."""
    for hierarchy in _hierarchies():
        (hierarchy / PARENT).mkdir(exist_ok=True)
        offered = hierarchy / "cgroup.controllers"
        if offered.exists():
            for controller in offered.read_text().split():
                for group in (hierarchy, hierarchy / PARENT):
                    # A controller that is bound elsewhere is simply not offered to pods.
                    with contextlib.suppress(OSError):
                        (group / "cgroup.subtree_control").write_text(f"+{controller}")
        _favour(hierarchy / PARENT)


def _favour(group: Path) -> None:
    for name, value in _WEIGHTS.items():
        if (group / name).exists():
            (group / name).write_text(value)


def _remove_tree(group: Path) -> bool:
    """Remove a group and those below it; False when a process is still in one of them."""
    for child in sorted(group.iterdir()):
        if child.is_dir() and not _remove_tree(child):
            return False
    try:
        group.rmdir()
    except OSError:
        return False
    return True


def remove() -> None:
    """Remove the parent group and everything below it.

    Raises ClusterError when processes stay in it for 30 seconds: they are killed beforehand.
    """
    for hierarchy in _hierarchies():
        group = hierarchy / PARENT
        if group.is_dir():
            until(
                lambda group=group: _remove_tree(group),  # type: ignore[misc]
                30.0,
                lambda group=group: f"processes are still in the control group {group}",  # type: ignore[misc]
            )
