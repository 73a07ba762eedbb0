"""Zip archives, entry by entry."""

from __future__ import annotations

import stat
import zipfile
import zlib
from typing import BinaryIO, Final

from runyard_operator.unpack.limits import Limits
from runyard_operator.unpack.problems import UnpackError
from runyard_operator.unpack.tree import Tree

_UNIX: Final = 3
"""`create_system` of archives whose upper attributes are a Unix mode (APPNOTE.TXT, 4.4.2)."""
_ENCRYPTED: Final = 0x1
_LINK_BYTES: Final = 4096


def fill(tree: Tree, file: BinaryIO, limits: Limits) -> None:
    """Writes the entries of a zip into the tree.

    Raises:
        UnpackError: an entry is refused, or the archive is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > limits.entries:
                raise UnpackError(f"the archive has more than {limits.entries} entries")
            for info in entries:
                _add(tree, archive, info)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as problem:
        raise UnpackError(f"the archive is damaged, or no zip: {problem}") from problem
    except (ValueError, RuntimeError, OverflowError) as problem:
        raise UnpackError(f"the archive cannot be read: {problem}") from problem


def _add(tree: Tree, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    if info.flag_bits & _ENCRYPTED:
        raise UnpackError(f"{info.filename!r} is encrypted: make the zip without a password")
    mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
    kind = stat.S_IFMT(mode)
    if info.is_dir():
        tree.folder(info.filename)
    elif kind == stat.S_IFLNK:
        if info.file_size > _LINK_BYTES:
            raise UnpackError(f"{info.filename!r} is a link whose target is too long")
        with archive.open(info) as source:
            tree.link(info.filename, source.read(_LINK_BYTES + 1).decode())
    elif kind in (0, stat.S_IFREG):
        with archive.open(info) as source:
            tree.file(info.filename, source, info.file_size, program=bool(mode & 0o111))
    else:
        raise UnpackError(
            f"{info.filename!r} is neither a file nor a folder nor a link (a device or a pipe):"
            " leave it out of the archive"
        )
