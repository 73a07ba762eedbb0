"""Archives: checked against their digest as a whole, before the first file is written."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from runyard_operator.unpack import tarball, zipball
from runyard_operator.unpack.files import make_empty, staging_of
from runyard_operator.unpack.folder import volume_root
from runyard_operator.unpack.limits import BLOCK, DEFAULT, Limits
from runyard_operator.unpack.problems import UnpackError
from runyard_operator.unpack.tree import Readable, Tree

_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


@contextmanager
def staging(target: str) -> Iterator[str]:
    """A folder for what is on its way to `target`; it is gone afterwards."""
    folder = make_empty(staging_of(target))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unpack_parts(source: str, target: str, digest: str, limits: Limits = DEFAULT) -> int:
    """Unpacks a bundle whose archive lies in parts, to be joined in the order of their names.

    Returns:
        How many files there were.

    Raises:
        UnpackError: the tar has another digest, or an entry is refused.
        OSError: reading or writing failed.
    """
    root = volume_root(source)
    names = sorted(name for name in os.listdir(root) if not name.startswith(".."))
    with staging(target) as folder:
        whole = os.path.join(folder, "archive")
        with open(whole, "wb") as out:
            for name in names:
                with open(os.path.join(root, name), "rb") as part:
                    shutil.copyfileobj(part, out, BLOCK)
        return unpack_bundle(whole, target, digest, limits)


def unpack_bundle(archive: str, target: str, digest: str, limits: Limits = DEFAULT) -> int:
    """Unpacks a .tar.gz file named by the digest of the tar in it; see `unpack_parts`."""
    size = os.path.getsize(archive)
    tar = f"{archive}.tar"
    with open(archive, "rb") as file:
        found = _decompress(file, tar, limits.unpacked(size))
    if found != digest:
        raise UnpackError(
            f"the code bundle has the digest {found}, not {digest}: what is stored was changed;"
            " push it again"
        )
    # Not both on the disk for longer than needed.
    os.unlink(archive)
    return _fill_from_tar(tar, target, limits, limits.unpacked(size))


def unpack_file(archive: str, target: str, limits: Limits = DEFAULT) -> int:
    """Unpacks a .tar, .tar.gz or .zip file, told apart by content; its digest is known to be right.

    Raises:
        UnpackError: it is none of them, or an entry is refused.
        OSError: reading or writing failed.
    """
    size = os.path.getsize(archive)
    budget = limits.unpacked(size)
    with open(archive, "rb") as file:
        start = file.read(4)
        file.seek(0)
        if start.startswith(_ZIP):
            tree = Tree(target, limits, budget)
            zipball.fill(tree, file, limits)
            return tree.finish()
        if not start.startswith(_GZIP):
            return _fill_from_tar(archive, target, limits, budget)
        tar = f"{archive}.tar"
        _decompress(file, tar, budget)
    os.unlink(archive)
    return _fill_from_tar(tar, target, limits, budget)


def _fill_from_tar(tar: str, target: str, limits: Limits, budget: int) -> int:
    tree = Tree(target, limits, budget)
    with open(tar, "rb") as file:
        tarball.fill(tree, file, limits)
    return tree.finish()


def _decompress(source: BinaryIO, target: str, limit: int) -> str:
    """Writes what the gzip file holds to `target`; returns its digest."""
    try:
        with gzip.GzipFile(fileobj=source, mode="rb") as plain, open(target, "wb") as out:
            return copy_hashed(plain, out, limit, "unpacked, the archive")
    except (gzip.BadGzipFile, zlib.error, EOFError) as problem:
        raise UnpackError(f"the archive is damaged, or no gzip: {problem}") from problem


def copy_hashed(source: Readable, out: BinaryIO, limit: int, what: str) -> str:
    """Copies all that `source` gives, at most `limit` bytes, and returns its digest.

    Raises:
        UnpackError: there is more; `what` names it.
    """
    hasher = hashlib.sha256()
    size = 0
    while block := source.read(BLOCK):
        size += len(block)
        if size > limit:
            raise UnpackError(f"{what} is larger than {limit} bytes: leave data out of the code")
        hasher.update(block)
        out.write(block)
    return f"sha256:{hasher.hexdigest()}"
