"""Images on the node: loaded from archives, once for each content."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from testbed import build, supervise
from testbed.artefacts import Artefacts
from testbed.errors import ClusterError
from testbed.layout import Home
from testbed.node import namespaces, ownership, runtime
from testbed.procs import ProcessId, write_atomically
from testbed.waiting import until


def _ctr(node: ProcessId, ctr: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [str(ctr), "--address", runtime.SOCKET, "--namespace", "k8s.io", *arguments]
    return namespaces.run_inside(node, argv)


def wait_containerd(home: Home, node: ProcessId, ctr: Path) -> None:
    """Wait until containerd answers."""

    def answers() -> bool:
        supervise.demand_alive(home, "containerd")
        return _ctr(node, ctr, "version").returncode == 0

    until(answers, 60.0, lambda: f"containerd does not answer; see {home.log('containerd')}")


def forget_dead_containers(home: Home, node: ProcessId, ctr: Path) -> bool:
    """Remove the containers that an earlier cluster left in the image store.

    A cluster that comes back keeps its own: the kubelet reads from them how its pods ended.
    Returns whether there were any (containerd then holds stale facts and must be restarted).
    """
    note = runtime.image_store() / "cluster"
    # The folder's inode tells a cluster from a later one of the same name.
    identity = f"{home.root} {home.pki.stat().st_ino}"
    if note.exists() and note.read_text() == identity:
        return False
    names = _ctr(node, ctr, "containers", "list", "--quiet").stdout.split()
    sandboxes = [
        line.split()[0]
        for line in _ctr(node, ctr, "sandboxes", "list").stdout.splitlines()[1:]
        if line.strip()
    ]
    if names:
        _ctr(node, ctr, "containers", "remove", *names)
    if sandboxes:
        _ctr(node, ctr, "sandboxes", "remove", "--force", *sandboxes)
    write_atomically(note, identity)
    return bool(names or sandboxes)


def archive_key(archive: Path) -> str:
    """Name an archive's content without reading it: built archives are never changed in place."""
    facts = archive.stat()
    return f"{archive.resolve()} {facts.st_size} {facts.st_mtime_ns}"


def _notes() -> Path:
    return runtime.image_store() / "loaded.json"


def _loaded() -> dict[str, str]:
    try:
        return dict(json.loads(_notes().read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def _demand_space(archive: Path, reference: str) -> None:
    """Raise ClusterError when the image store cannot take the image: packed once and unpacked."""
    needed, free = 4 * archive.stat().st_size, shutil.disk_usage(runtime.image_store()).free
    if free < needed:
        raise ClusterError(
            f"loading {reference} needs about {needed / 1e9:.1f} GB below "
            f"{runtime.image_store()}, {free / 1e9:.1f} GB are free; make room, for example with "
            "`python3 -m testbed prune`"
        )


def prune() -> None:
    """Remove the image store, unless a cluster's node uses it; the next node loads images anew."""
    if ownership.read() is None:
        shutil.rmtree(runtime.image_store(), ignore_errors=True)


def _import(node: ProcessId, ctr: Path, reference: str, archive: Path) -> None:
    done = _ctr(node, ctr, "images", "import", "--local", "--base-name", reference.split(":")[0],
                str(archive))  # fmt: skip
    if done.returncode != 0:
        raise ClusterError(
            f"loading {reference} from {archive} failed: {done.stderr.strip()[-500:]}"
        )


def load(
    home: Home,
    node: ProcessId,
    built: Artefacts,
    names: Iterable[str],
    say: Callable[[str], None],
) -> None:
    """Load the images into the node, those that are not there with the same content.

    Raises ClusterError when containerd refuses one.
    """
    ctr = built.path("ctr")
    there = set(_ctr(node, ctr, "images", "list", "--quiet").stdout.split())
    for name in names:
        archive, reference = built.path(name), build.image_ref(name)
        key = archive_key(archive)
        if reference in there and _loaded().get(reference) == key:
            continue
        _demand_space(archive, reference)
        begin = time.monotonic()
        _import(node, ctr, reference, archive)
        now = set(_ctr(node, ctr, "images", "list", "--quiet").stdout.split())
        if reference not in now:
            raise ClusterError(f"{archive} holds no image named {reference}")
        write_atomically(_notes(), json.dumps({**_loaded(), reference: key}, indent=1))
        say(f"loaded {reference} ({time.monotonic() - begin:.1f} s)")
