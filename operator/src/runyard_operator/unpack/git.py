"""Code from a git repository: exactly one commit of it, without its history."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from typing import Final

from runyard_operator.unpack.archive import staging
from runyard_operator.unpack.files import inside, make_empty
from runyard_operator.unpack.gitcommand import Git, GitError
from runyard_operator.unpack.problems import UnpackError, Unreachable

PAUSES: Final = (2.0, 8.0)
_COMMIT: Final = re.compile(r"^([0-9a-f]{40}|[0-9a-f]{64})$")
_NOT_ALONE: Final = re.compile(r"not our ref|unadvertised object|does not support shallow")
"""What servers say that do not give a commit by its name."""

_FOLDER_MODE: Final = 0o777

Sleep = Callable[[float], None]


def unpack_git(
    git: Git,
    target: str,
    commit: str,
    *,
    ref: str | None = None,
    subpath: str | None = None,
    submodules: bool = False,
    sleep: Sleep = time.sleep,
) -> int:
    """Puts the commit's files, or those below `subpath`, into `target`.

    Returns:
        How many files there are.

    Raises:
        Unreachable: the server gave no whole answer, several times.
        UnpackError: there is no such commit or folder, or the server refuses.
    """
    if not _COMMIT.match(commit):
        raise UnpackError(f"{commit!r} is not a whole commit")
    with staging(target) as folder:
        tree = os.path.join(folder, "tree")
        os.mkdir(tree)
        git.folder = tree
        for pause in PAUSES:
            try:
                _get(git, folder, tree, commit, ref, submodules)
                break
            except Unreachable as problem:
                print(f"runyard: {problem}; trying again", flush=True)
                sleep(pause)
        else:
            _get(git, folder, tree, commit, ref, submodules)
        return _place(tree, subpath, target, commit)


def _get(git: Git, folder: str, tree: str, commit: str, ref: str | None, submodules: bool) -> None:
    make_empty(tree)
    repository = os.path.join(folder, "repository")
    shutil.rmtree(repository, ignore_errors=True)
    form = "sha256" if len(commit) == 64 else "sha1"
    git.run("init", "-q", "--template=", f"--object-format={form}", "--separate-git-dir",
            repository, tree)  # fmt: skip
    git.run("remote", "add", "origin", "--", git.url)
    _fetch(git, commit, ref)
    git.run("checkout", "-q", "--force", "--detach", commit, "--")
    found = git.run("rev-parse", "HEAD").strip()
    if found != commit:
        raise UnpackError(f"git checked out {found} in place of {commit}")
    if submodules:
        _submodules(git)


def _fetch(git: Git, commit: str, ref: str | None) -> None:
    fetch = ("fetch", "-q", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head")
    try:
        git.run(*fetch, "--depth=1", "origin", commit)
        return
    except GitError as problem:
        if not _NOT_ALONE.search(str(problem)):
            raise
    # The server gives whole branches and tags only: the commit must be in one of them.
    wanted = [f"+{ref}:refs/runyard/ref"] if ref and not _COMMIT.match(ref) else _EVERYTHING
    git.run(*fetch, "origin", *wanted)
    try:
        git.run("cat-file", "-e", f"{commit}^{{commit}}")
    except GitError:
        where = f"ref {ref!r}" if wanted is not _EVERYTHING else "any branch or tag"
        raise UnpackError(
            f"the commit {commit} is not in {where} of the repository: it was removed by a forced"
            " push, or never pushed"
        ) from None


_EVERYTHING: Final = ["+refs/heads/*:refs/runyard/heads/*", "+refs/tags/*:refs/runyard/tags/*"]


def _submodules(git: Git) -> None:
    update = ("submodule", "update", "-q", "--init", "--recursive", "--force", "--checkout")
    try:
        git.run(*update, "--depth=1")
    except GitError:
        # Some servers give whole branches only.
        git.run(*update)


def _place(tree: str, subpath: str | None, target: str, commit: str) -> int:
    """Moves the files to `target`, which is on the same file system; returns how many."""
    root = os.path.realpath(tree)
    source = os.path.realpath(os.path.join(root, subpath or ""))
    if not inside(root, source) or not os.path.isdir(source):
        raise UnpackError(f"{subpath!r} is not a folder of commit {commit}: correct subpath")
    count = 0
    os.chmod(source, _FOLDER_MODE)
    for folder, folders, files in os.walk(source):
        # What git needs of a repository and its submodules; nobody can commit such a name.
        for name in [each for each in (*folders, *files) if each == ".git"]:
            place = os.path.join(folder, name)
            (shutil.rmtree if os.path.isdir(place) else os.unlink)(place)
            (folders if name in folders else files).remove(name)
        for name in folders:
            place = os.path.join(folder, name)
            if not os.path.islink(place):
                os.chmod(place, _FOLDER_MODE)
        count += len(files)
    make_empty(target)
    for name in os.listdir(source):
        os.rename(os.path.join(source, name), os.path.join(target, name))
    return count
