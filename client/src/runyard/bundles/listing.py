"""Which files of a folder are its code: what git would take, less what `.runyardignore` says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

IGNORE_FILE: Final = ".runyardignore"
_NEVER: Final = frozenset({".git", ".hg", ".svn", "__pycache__", ".DS_Store"})


class ArchiveError(ValueError):
    """The folder cannot become an archive; the message says what to do."""


def code_files(folder: Path) -> list[str]:
    """The paths below `folder`, relative and with `/`, that belong to its code.

    In a git work tree these are the files that git knows or would add (`git ls-files -co
    --exclude-standard`), submodules included; elsewhere all files.

    Raises:
        ArchiveError: git refuses to list them.
    """
    listed = _git_files(folder)
    found = _walk(folder, "") if listed is None else listed
    return sorted(_not_ignored(folder, found))


def _git_files(folder: Path, below: str = "") -> list[str] | None:
    """None when the folder is in no work tree, or there is no git."""
    command = ["git", "-C", str(folder / below), "ls-files"]
    command += ["--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"}
        )
    except FileNotFoundError:
        return None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        if "not a git repository" in said or "must be run in a work tree" in said:
            return None
        raise ArchiveError(f"git cannot list the files of {folder / below}: {said}")
    found = []
    # A file with conflicts is listed once for each of its versions.
    for path in dict.fromkeys(os.fsdecode(each) for each in done.stdout.split(b"\0") if each):
        whole = os.path.join(below, path.rstrip("/"))
        kind = folder / whole
        if kind.is_dir() and not kind.is_symlink():  # a submodule, or a repository of its own
            found += _git_files(folder, whole) or []
        elif os.path.lexists(kind):  # else deleted, but not yet for git
            found.append(whole)
    return found


def _walk(folder: Path, below: str) -> Iterator[str]:
    with os.scandir(folder / below) as entries:
        for entry in entries:
            path = os.path.join(below, entry.name)
            if entry.name in _NEVER:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder, path)
            else:
                yield path


def _not_ignored(folder: Path, paths: Iterable[str]) -> Iterator[str]:
    rules = folder / IGNORE_FILE
    kept = (path for path in paths if _NEVER.isdisjoint(path.split("/")))
    if not rules.is_file():
        yield from kept
        return
    # Not at the top: most commands have no files to choose.
    from pathspec import GitIgnoreSpec

    spec = GitIgnoreSpec.from_lines(rules.read_text(encoding="utf-8").splitlines())
    yield from (path for path in kept if not spec.match_file(path))
