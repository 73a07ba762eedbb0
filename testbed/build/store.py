"""The cache of finished artefacts, addressed by the content that they were made from.

``artifacts/NAME/KEY/`` holds one finished version and appears there by one rename, so that nothing
half-written is ever taken for complete. ``work/`` holds what is being written.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from testbed.build.errors import BuildCancelledError

VERSIONS_KEPT = 3
_RECORD = "built.json"
_LOCK_POLL_SECONDS = 0.2


def default_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the cache folder, by the XDG rules."""
    base = environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "runyard" / "testbed"


class Store:
    """Finished artefacts below one folder, shared by all builds of a user."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, name: str, key: str) -> Path | None:
        """Return the finished file or folder of an artefact, None when there is none yet."""
        version = self._versions(name) / key
        if not (version / _RECORD).is_file():
            return None
        with contextlib.suppress(OSError):  # the time of last use decides what is pruned
            os.utime(version)
        return version / leaf(name)

    def log(self, name: str) -> Path:
        """Return the file that takes the output of the commands which make ``name``."""
        return self.root / "logs" / f"{_flat(name)}.log"

    def kept(self, name: str) -> Path:
        """Return the folder in which a recipe may keep what makes its next run faster."""
        return self.root / "kept" / _flat(name)

    @contextlib.contextmanager
    def locked(
        self, name: str, cancelled: threading.Event, on_wait: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Hold the lock of one artefact; ``on_wait`` is called once when another build has it.

        Raises BuildCancelledError when ``cancelled`` is set while waiting.
        """
        path = self.root / "locks" / f"{_flat(name)}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _try_lock(fd):
                on_wait()
                while not _try_lock(fd):
                    if cancelled.wait(_LOCK_POLL_SECONDS):
                        raise BuildCancelledError(f"stopped while waiting for {name}")
            yield
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """Give an empty folder to write in; call it with the artefact's lock held.

        What an interrupted build left there is removed first, and the folder is removed at the end.
        """
        folder = self.root / "work" / _flat(name)
        _remove(folder)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            _remove(folder)

    def publish(self, staged: Path, name: str, key: str, seconds: float) -> Path:
        """Move a finished file or folder into the cache; it is there whole or not at all."""
        version = self._versions(name) / key
        parcel = staged.parent / f"{leaf(name)}.parcel"
        parcel.mkdir()
        staged.rename(parcel / leaf(name))
        record = {"name": name, "key": key, "seconds": round(seconds, 1)}
        (parcel / _RECORD).write_text(json.dumps(record))
        _flush(parcel)
        version.parent.mkdir(parents=True, exist_ok=True)
        _remove(version)
        parcel.rename(version)
        self._drop_old(version.parent)
        return version / leaf(name)

    def prune(self, current: Mapping[str, str]) -> None:
        """Remove all versions but the current ones (name to key), and what builds left or kept."""
        keep = {_flat(name): key for name, key in current.items()}
        for versions in _children(self.root / "artifacts"):
            for version in _children(versions):
                if keep.get(versions.name) != version.name:
                    _remove(version)
        for folder in ("work", "kept"):
            for leftover in _children(self.root / folder):
                self._remove_unlocked(leftover)

    def _remove_unlocked(self, leftover: Path) -> None:
        path = self.root / "locks" / f"{leftover.name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _try_lock(fd):
                _remove(leftover)
        finally:
            os.close(fd)

    def _versions(self, name: str) -> Path:
        return self.root / "artifacts" / _flat(name)

    def _drop_old(self, versions: Path) -> None:
        by_use = sorted(_children(versions), key=lambda path: path.stat().st_mtime, reverse=True)
        for version in by_use[VERSIONS_KEPT:]:
            _remove(version)


def leaf(name: str) -> str:
    """Return the file name of an artefact: the last part of its name, ``.tar`` for images."""
    last = name.rpartition("/")[2]
    return f"{last}.tar" if name.startswith("image/") else last


def _flat(name: str) -> str:
    return name.replace("/", "--")


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(path: Path) -> None:
    """Remove a folder; renamed first, so that a half-removed version is not taken for a whole."""
    if not path.exists():
        return
    doomed = path.with_name(f".{path.name}.removed-{os.getpid()}-{threading.get_ident()}")
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Write a folder's files to disk: after a power cut the rename must not outlive them."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            fd = os.open(path, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
