"""Bytes in files below one folder, for example a mounted volume."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, TypeVar

from runyard_operator.storage.backend import Entry, NoSpaceError

_INCOMING: Final = "incoming"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_PIECE: Final = 1 << 18

T = TypeVar("T")


class Folder:
    """See `backend.Backend`. One process at a time may use a folder.

    Args:
        root: is made if it is not there; what an earlier process left half done is removed.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / _INCOMING
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(parents=True, exist_ok=True)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[_File]:
        path = self._incoming / secrets.token_hex(16)
        file = await _threaded(lambda: open(path, "xb"))  # noqa: SIM115 - closed below
        try:
            yield _File(self._root, path, file)
        finally:
            with suppress(OSError):
                file.close()
            with suppress(FileNotFoundError):
                os.unlink(path)

    async def read(self, name: str, start: int, count: int) -> AsyncIterator[bytes]:
        # An open file stays readable when its name goes, so a sweep breaks no answer.
        with await asyncio.to_thread(open, self._root / name, "rb") as file:
            file.seek(start)
            while count > 0:
                piece = await asyncio.to_thread(file.read, min(_PIECE, count))
                if not piece:
                    return
                count -= len(piece)
                yield piece

    async def size(self, name: str) -> int | None:
        try:
            found = os.stat(self._root / name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size

    async def entries(self, prefix: str) -> list[Entry]:
        return await asyncio.to_thread(lambda: sorted(self._walk(prefix), key=lambda e: e.name))

    def _walk(self, prefix: str) -> Iterator[Entry]:
        for folder, _, files in os.walk(self._root / prefix):
            for each in files:
                path = Path(folder, each)
                with suppress(FileNotFoundError):
                    found = path.stat()
                    modified = datetime.fromtimestamp(found.st_mtime, UTC)
                    yield Entry(path.relative_to(self._root).as_posix(), found.st_size, modified)

    async def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._root / name)
        with suppress(OSError):  # not empty, or gone
            os.removedirs(os.path.dirname(self._root / name))

    async def free(self) -> int | None:
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize


class _File:
    """See `backend.Incoming`."""

    def __init__(self, root: Path, path: Path, file: IO[bytes]) -> None:
        self._root = root
        self._path = path
        self._file = file

    async def write(self, data: bytes) -> None:
        await _threaded(lambda: self._file.write(data))

    async def keep(self, name: str) -> None:
        await _threaded(lambda: self._keep(self._root / name))

    def _keep(self, target: Path) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        while True:
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # a sweep has just removed the empty folder
                os.replace(self._path, target)
                break
        for folder in (target.parent, *target.parent.parents):
            _sync_folder(folder)
            if folder == self._root:
                break


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _threaded(call: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(call)
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpaceError(str(error)) from error
        raise
