"""Folders and pipes that the containers of a pod share, whatever users they run as."""

from __future__ import annotations

import os
import shutil
import stat
from typing import Final

from runyard_operator.unpack.problems import UnpackError

_FOLDER_MODE: Final = 0o777
_PIPE_MODE: Final = 0o666


def inside(root: str, path: str) -> bool:
    """Whether `path` is `root` or below it; both are real paths."""
    return os.path.commonpath([root, path]) == root


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


def make_empty(path: str) -> str:
    """Makes the folder, or empties it of what a try that was cut off has left.

    Returns:
        The folder's real path.

    Raises:
        UnpackError: see `make_folder`.
    """
    make_folder(path)
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
    return os.path.realpath(path)


def staging_of(target: str) -> str:
    """A folder beside `target`, on the same file system, for what is on its way there."""
    return os.path.join(os.path.dirname(os.path.abspath(target)), ".runyard-staging")
