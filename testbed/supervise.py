"""Starting, finding and stopping the components of one cluster."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from testbed import ports, procs
from testbed.errors import ClusterError
from testbed.layout import LOOPBACK, MARK, REPOSITORY, Home

_LOG_LIMIT = 64 << 20
_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Component:
    """One long-lived process, as it should run.

    ``inside`` is the process whose ``namespaces`` ("net", "mnt", "pid") it enters;
    ``own_namespaces`` gives it new ones of all three kinds instead. ``listens`` are the ports of
    ``address`` that must be free for it, ``reads`` the files whose change calls for a restart.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    inside: procs.ProcessId | None = None
    namespaces: tuple[str, ...] = ()
    own_namespaces: bool = False
    address: str = LOOPBACK
    listens: tuple[int, ...] = ()
    reads: tuple[Path, ...] = ()

    def digest(self) -> str:
        """Name everything that makes a restart needed when it changes."""
        inside = None if self.inside is None else [self.inside.pid, self.inside.start]
        texts = [path.read_text() for path in self.reads]
        facts = [self.argv, dict(self.env), inside, self.namespaces, texts]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def running(home: Home, name: str) -> procs.ProcessId | None:
    """Return the live process of a component; None when it does not run."""
    record = procs.read_record(home.record(name))
    return record.process if record and procs.is_lasting(record.process) else None


def recorded(home: Home) -> list[str]:
    """Return the names of all components that were ever started, sorted."""
    if not home.records.is_dir():
        return []
    return sorted(path.stem for path in home.records.glob("[!.]*.json"))


def log_tail(home: Home, name: str, lines: int = 8) -> str:
    """Return the last lines of a component's log."""
    try:
        with home.log(name).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:])


def _request(home: Home, component: Component) -> str:
    env = {"PATH": _SEARCH_PATH, "HOME": str(home.root), "LANG": "C.UTF-8", **component.env}
    request = {
        "argv": component.argv,
        "env": {**env, MARK: str(home.root)},
        "cwd": "/",
        "log": str(home.log(component.name)),
        "record": str(home.record(component.name)),
        "digest": component.digest(),
        "own_namespaces": component.own_namespaces,
    }
    if component.inside is not None:
        request |= {"namespaces_of": component.inside.pid, "namespaces": component.namespaces}
    return json.dumps(request)


def _launch(home: Home, component: Component) -> None:
    for folder in (home.logs, home.records):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = home.log(component.name)
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    # A session of its own: Ctrl-C in the terminal must not reach the launcher halfway.
    done = subprocess.run(
        [sys.executable, "-m", "testbed.launch"],
        input=_request(home, component), cwd=REPOSITORY, start_new_session=True,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise ClusterError(f"cannot start {component.name}: {done.stderr.strip()[-500:]}")


def ensure(home: Home, component: Component) -> bool:
    """Have the component run as described; True when it was (re)started.

    Raises ClusterError when a port that it needs is taken.
    """
    record = procs.read_record(home.record(component.name))
    if record and procs.is_lasting(record.process):
        if record.digest == component.digest():
            return False
        procs.stop(record.process)
    for port in component.listens:
        ports.demand_free(port, component.address, component.name, home.name)
    _launch(home, component)
    return True


def demand_alive(home: Home, name: str) -> None:
    """Raise ClusterError, with the end of its log, when the component does not run."""
    if running(home, name) is None:
        raise ClusterError(
            f"{name} of cluster {home.name!r} ended right after its start; the last lines of "
            f"{home.log(name)}:\n{log_tail(home, name)}"
        )


def stop(home: Home, name: str, *, hard: bool = False) -> None:
    """Stop one component and forget its process."""
    process = running(home, name)
    if process is not None:
        procs.stop(process, hard=hard)
    home.record(name).unlink(missing_ok=True)


def strays(home: Home) -> list[procs.ProcessId]:
    """Find live processes that carry this cluster's mark (the record of one may be lost)."""
    mark = f"{MARK}={home.root}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            marked = mark in (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # gone, or of another user
            continue
        process = procs.identify(int(entry.name)) if marked else None
        if process is not None:
            found.append(process)
    return found
