"""Tar archives: tarfile reads them, its data filter looks at each entry, and so does the tree."""

from __future__ import annotations

import os
import tarfile
from typing import BinaryIO

from runyard_operator.unpack.limits import BLOCK, Limits
from runyard_operator.unpack.problems import UnpackError
from runyard_operator.unpack.tree import Tree, parts_of


class _Guarded:
    """A file for tarfile, which reads what describes an entry at once, however long that is."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._limit:
            raise UnpackError("an entry's name or attributes are too long: the archive is damaged")
        return self._file.read(size)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(position, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def fill(tree: Tree, file: BinaryIO, limits: Limits) -> None:
    """Writes the entries of an uncompressed tar into the tree.

    Raises:
        UnpackError: an entry is refused, or the archive is damaged.
    """
    guarded = _Guarded(file, max(limits.header, BLOCK))
    try:
        # tarfile needs no more of a file than there is here.
        with tarfile.open(fileobj=guarded, mode="r:") as tar:  # type: ignore[call-overload]
            while (info := tar.next()) is not None:
                # It would keep them all: memory that grows with the archive.
                tar.members.clear()
                _add(tree, tar, info)
    except tarfile.FilterError as problem:
        raise UnpackError(f"the archive is refused: {problem}") from problem
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as problem:
        raise UnpackError(f"the archive is damaged, or no tar: {problem}") from problem


def _add(tree: Tree, tar: tarfile.TarFile, info: tarfile.TarInfo) -> None:
    parts_of(info.name)
    if info.size < 0:
        raise UnpackError(f"{info.name!r} has a size below 0: the archive is damaged")
    tarfile.data_filter(info, tree.root)
    if info.isdir():
        tree.folder(info.name)
    elif info.isreg():
        source = tar.extractfile(info)
        if source is None:
            raise UnpackError(f"{info.name!r} cannot be read")
        tree.file(info.name, source, info.size, program=bool(info.mode & 0o111))
    elif info.issym():
        tree.link(info.name, info.linkname)
    elif info.islnk():
        tree.hard_link(info.name, info.linkname)
    else:
        raise UnpackError(f"{info.name!r} is neither a file nor a folder nor a link")
