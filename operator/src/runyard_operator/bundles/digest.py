"""The digest that names a set of files. Standard library only: it is loaded in every pod."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import Final

_BLOCK: Final = 1024 * 1024


def content_digest(files: Iterable[tuple[str, bytes]]) -> str:
    """`sha256:<hex>` over paths and contents, whatever the order in which they come.

    Each part is framed by its length, so that no two different sets of files give the same text.
    """
    return _digest((path, len(content), iter((content,))) for path, content in sorted(files))


def folder_digest(files: Iterable[tuple[str, str]]) -> str:
    """The same digest, of files that are too large for memory: (path, where it lies) pairs.

    Raises:
        OSError: a file cannot be read.
    """
    return _digest((path, os.stat(real).st_size, _blocks(real)) for path, real in sorted(files))


def _digest(files: Iterable[tuple[str, int, Iterator[bytes]]]) -> str:
    hasher = hashlib.sha256()
    for path, size, blocks in files:
        name = path.encode(errors="surrogateescape")
        hasher.update(b"%d:%s%d:" % (len(name), name, size))
        for block in blocks:
            hasher.update(block)
    return f"sha256:{hasher.hexdigest()}"


def _blocks(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            yield block
