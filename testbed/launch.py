"""Start one long-lived process so that its record exists before its program runs.

Run as ``python3 -m testbed.launch`` with a JSON request on standard input. The process is forked
here, waits on a pipe until its record is on disk, and only then executes the program: whoever is
killed in between, no process is left that nobody knows of.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.procs import Record, identify, write_atomically

_CLONE_FLAGS = {"mnt": 0x00020000, "net": 0x40000000, "pid": 0x20000000}


def _checked(result: int, action: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot {action}: {os.strerror(code)}")


def _setns(fd: int, kind: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.setns(fd, _CLONE_FLAGS[kind]), f"enter the {kind} namespace")


def _unshare(*kinds: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    flags = sum(_CLONE_FLAGS[kind] for kind in kinds)
    _checked(libc.unshare(flags), f"make new namespaces ({', '.join(kinds)})")


def _execute(request: Mapping[str, Any], namespaces: Mapping[str, int], ready: int) -> None:
    if os.read(ready, 1) != b"1":
        os._exit(1)  # the launcher died before it wrote the record
    # The mount namespace comes last: it changes what /proc shows.
    for kind in ("net", "mnt"):
        if kind in namespaces:
            _setns(namespaces[kind], kind)
    if request.get("own_namespaces"):
        _unshare("net", "mnt")
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.chdir(request["cwd"])
    os.execve(request["argv"][0], request["argv"], request["env"])  # noqa: S606


def _redirect(log: str) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)


def main() -> int:
    """Fork the process of the request, write its record, let it run."""
    request = json.load(sys.stdin)
    inside = request.get("namespaces_of")
    kinds = request.get("namespaces", [])
    namespaces = {kind: os.open(f"/proc/{inside}/ns/{kind}", os.O_RDONLY) for kind in kinds}
    if "pid" in namespaces:
        _setns(namespaces["pid"], "pid")  # takes hold for children only
    if request.get("own_namespaces"):
        _unshare("pid")  # the child becomes its first process: with it, all the others end
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        os.setsid()
        try:
            _redirect(request["log"])
            _execute(request, namespaces, ready)
        except OSError as error:
            print(f"cannot start {request['argv'][0]}: {error}", file=sys.stderr)
        os._exit(127)
    process = identify(child)
    if process is None:
        return 1
    write_atomically(Path(request["record"]), Record(process, request["digest"]).dumps())
    os.write(go, b"1")
    return 0


if __name__ == "__main__":
    sys.exit(main())
