"""Runs in the init container of every pod: puts the code where the task expects it.

The kubelet shows a ConfigMap as a tree of symbolic links that changes under the reader; the task
gets plain files instead, in folders in which any user may create more. Only the standard library
is imported, and little of it: every pod waits for this program.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping

from runyard_operator.bundles.digest import content_digest

SOURCES_VARIABLE = "RUNYARD_UNPACK"
"""Environment variable: a JSON list of {"source": folder, "target": folder, "digest": if known}."""
FOLDERS_VARIABLE = "RUNYARD_FOLDERS"
"""Environment variable: folders to make, separated by colons."""
PIPES_VARIABLE = "RUNYARD_PIPES"
"""Environment variable: named pipes to make, separated by colons."""

_FOLDER_MODE = 0o777
_FILE_MODE = 0o755
_PIPE_MODE = 0o666


class UnpackError(Exception):
    """The code cannot be put in place; the message is for the user."""


def unpack(source: str, target: str, digest: str | None) -> int:
    """Copies the files below `source` to `target`; returns how many there were.

    Raises:
        UnpackError: a file leads out of the folder, or the content has another digest.
        OSError: reading or writing failed.
    """
    root = _volume_root(source)
    files = [(path, _read(root, path)) for path in sorted(_paths(root, ""))]
    if digest is not None and content_digest(files) != digest:
        raise UnpackError(
            f"the files in {source} do not have the digest {digest}: their ConfigMap was changed;"
            " delete it and run the experiment again"
        )
    make_folder(target)
    for path, content in files:
        _write(os.path.realpath(target), path, content)
    return len(files)


def _volume_root(source: str) -> str:
    """The real folder: `..data` points at the current version of a ConfigMap volume."""
    outer = os.path.realpath(source)
    if not os.path.isdir(outer):
        raise UnpackError(f"{source} is not a folder: the volume is not mounted")
    inner = os.path.join(outer, "..data")
    if not os.path.lexists(inner):
        return outer
    root = os.path.realpath(inner)
    if not _inside(outer, root):
        raise UnpackError(f"{inner} leads out of its volume")
    return root


def _inside(root: str, path: str) -> bool:
    return os.path.commonpath([root, path]) == root


def _paths(root: str, below: str) -> Iterator[str]:
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in entries:
            path = os.path.join(below, entry.name)
            if entry.is_dir(follow_symlinks=False):
                yield from _paths(root, path)
            else:
                yield path


def _read(root: str, path: str) -> bytes:
    real = os.path.realpath(os.path.join(root, path))
    if not _inside(root, real):
        raise UnpackError(f"{path} leads out of its volume: replace the link by the file")
    if not os.path.isfile(real):
        raise UnpackError(f"{path} is neither a file nor a folder: leave it out of the code")
    with open(real, "rb") as file:
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


def make_folder(path: str) -> None:
    """Makes the folder, open to every user.

    Raises:
        UnpackError: something that is not a folder is there, a link to a folder included.
    """
    try:
        os.mkdir(path)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise UnpackError(f"{path} must be a folder: something else is there") from None
        if os.lstat(path).st_uid != os.geteuid():
            return
    os.chmod(path, _FOLDER_MODE)


def make_pipe(path: str) -> None:
    """Makes a named pipe that every user may read and write; one that is there stays.

    Raises:
        UnpackError: something that is not a pipe is there.
    """
    try:
        os.mkfifo(path)
    except FileExistsError:
        if not stat.S_ISFIFO(os.lstat(path).st_mode):
            raise UnpackError(f"{path} must be a pipe: something else is there") from None
        return
    os.chmod(path, _PIPE_MODE)


def run(environ: Mapping[str, str]) -> int:
    """Does what the environment says; returns how many files were put in place.

    Raises:
        UnpackError, OSError: see `unpack`.
    """
    for folder in filter(None, environ.get(FOLDERS_VARIABLE, "").split(":")):
        make_folder(folder)
    for pipe in filter(None, environ.get(PIPES_VARIABLE, "").split(":")):
        make_pipe(pipe)
    return sum(
        unpack(each["source"], each["target"], each.get("digest"))
        for each in json.loads(environ.get(SOURCES_VARIABLE, "[]"))
    )


def main() -> int:
    """The program: 0 when the code is in place, else 1 with the reason on stderr."""
    try:
        count = run(os.environ)
    except (UnpackError, OSError) as problem:
        print(f"runyard: the code cannot be unpacked: {problem}", file=sys.stderr)
        return 1
    print(f"runyard: {count} files in place")
    return 0


if __name__ == "__main__":
    sys.exit(main())
