"""File locks between processes: one lock for each cluster, one for the choice of ports."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path


def _open_locked(path: Path, on_wait: Callable[[str], None]) -> int:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait(os.pread(fd, 64, 0).decode(errors="replace").strip() or "unknown")
                fcntl.flock(fd, fcntl.LOCK_EX)
            # The last holder may have removed the file: then this lock guards nothing.
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(fd).st_ino == path.stat().st_ino:
                    return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[str], None] = lambda _pid: None) -> Iterator[None]:
    """Hold the lock at ``path``; the file is removed at the end.

    ``on_wait`` is called once, with the pid of the holder, when somebody else holds it.
    """
    fd = _open_locked(path, on_wait)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(fd)
