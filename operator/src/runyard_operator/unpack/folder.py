"""Code that a volume shows as a folder: copied, or only checked where the volume is the folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from runyard_operator.bundles.digest import content_digest, folder_digest
from runyard_operator.unpack.files import inside, make_folder
from runyard_operator.unpack.problems import UnpackError

_FILE_MODE = 0o755


def unpack(source: str, target: str, digest: str | None) -> int:
    """Copies the files below `source` to `target`; returns how many there were.

    Raises:
        UnpackError: a file leads out of the folder, or the content has another digest.
        OSError: reading or writing failed.
    """
    root = volume_root(source)
    files = [(path, _read(root, path)) for path in _paths(root)]
    if digest is not None and content_digest(files) != digest:
        raise UnpackError(
            f"the files in {source} do not have the digest {digest}: their ConfigMap was changed;"
            " delete it and run the experiment again"
        )
    make_folder(target)
    for path, content in files:
        _write(os.path.realpath(target), path, content)
    return len(files)


def check(source: str, digest: str) -> int:
    """Checks the files of a folder that is used where it lies; returns how many there were.

    Raises:
        UnpackError: a file leads out of the folder, or the content has another digest.
        OSError: reading failed.
    """
    root = volume_root(source)
    files = [(path, _real_file(root, path)) for path in _paths(root)]
    found = folder_digest(files)
    if found != digest:
        raise UnpackError(
            f"the files of the code's claim have the digest {found}, and code.pvc.digest is"
            f" {digest}: they were changed since; put them back, or give the new digest"
        )
    return len(files)


def volume_root(source: str) -> str:
    """The real folder: `..data` points at the current version of a ConfigMap volume.

    Raises:
        UnpackError: there is none.
    """
    outer = os.path.realpath(source)
    if not os.path.isdir(outer):
        raise UnpackError(f"{source} is not a folder: the volume is not mounted")
    inner = os.path.join(outer, "..data")
    if not os.path.lexists(inner):
        return outer
    root = os.path.realpath(inner)
    if not inside(outer, root):
        raise UnpackError(f"{inner} leads out of its volume")
    return root


def _paths(root: str) -> list[str]:
    return sorted(_below(root, ""))


def _below(root: str, folder: str) -> Iterator[str]:
    with os.scandir(os.path.join(root, folder)) as entries:
        for entry in entries:
            path = os.path.join(folder, entry.name)
            if entry.is_dir(follow_symlinks=False):
                yield from _below(root, path)
            else:
                yield path


def _real_file(root: str, path: str) -> str:
    real = os.path.realpath(os.path.join(root, path))
    if not inside(root, real):
        raise UnpackError(f"{path} leads out of its volume: replace the link by the file")
    if not os.path.isfile(real):
        raise UnpackError(f"{path} is neither a file nor a folder: leave it out of the code")
    return real


def _read(root: str, path: str) -> bytes:
    with open(_real_file(root, path), "rb") as file:
        return file.read()


def _write(root: str, path: str, content: bytes) -> None:
    folder, name = os.path.split(os.path.join(root, path))
    below = root
    for part in os.path.relpath(folder, root).split(os.sep):
        if part != os.curdir:
            below = os.path.join(below, part)
            make_folder(below)
    # A container that is started anew finds the files of the first try: it replaces them.
    whole = os.path.join(folder, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(whole)
    with open(whole, "xb") as file:
        file.write(content)
    os.chmod(whole, _FILE_MODE)
