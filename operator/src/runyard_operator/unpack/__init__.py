"""Runs in the init container of every pod: puts the code where the task expects it.

Only the standard library is imported, and of it only what the pod's own sources need: every pod
waits for this program. What it does is said by the environment; `Source` lists what there is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from runyard_operator.unpack.files import make_folder, make_pipe
from runyard_operator.unpack.problems import UnpackError, Unreachable

SOURCES_VARIABLE: Final = "RUNYARD_UNPACK"
"""Environment variable: a JSON list of objects, each with the `kind` of a source and its fields;
`sources.py` of the in-cluster backends writes them, `KINDS` reads them."""
FOLDERS_VARIABLE: Final = "RUNYARD_FOLDERS"
"""Environment variable: folders to make, separated by colons."""
PIPES_VARIABLE: Final = "RUNYARD_PIPES"
"""Environment variable: named pipes to make, separated by colons."""
STORE_TOKEN_VARIABLE: Final = "RUNYARD_STORE_TOKEN"  # noqa: S105 - the variable's name
"""Environment variable: the right to read one bundle of the code store."""
KEYS_VARIABLE: Final = "RUNYARD_KEYS"
"""Environment variable: a folder in memory, for credentials in the form that programs want."""

Entry = Mapping[str, Any]


def _folder(entry: Entry, environ: Mapping[str, str]) -> int:
    from runyard_operator.unpack import folder

    return folder.unpack(entry["source"], entry["target"], entry.get("digest"))


def _check(entry: Entry, environ: Mapping[str, str]) -> int:
    from runyard_operator.unpack import folder

    return folder.check(entry["source"], entry["digest"])


def _parts(entry: Entry, environ: Mapping[str, str]) -> int:
    from runyard_operator.unpack import archive

    return archive.unpack_parts(entry["source"], entry["target"], entry["digest"])


def _stored(entry: Entry, environ: Mapping[str, str]) -> int:
    from runyard_operator.unpack import download

    token = environ.get(STORE_TOKEN_VARIABLE, "")
    return download.unpack_stored(entry["url"], entry["target"], entry["digest"], token)


def _uri(entry: Entry, environ: Mapping[str, str]) -> int:
    from runyard_operator.unpack import download
    from runyard_operator.unpack.secret import Secret

    secret = Secret(entry.get("secret"))
    return download.unpack_uri(entry["url"], entry["target"], entry["digest"], secret)


def _git(entry: Entry, environ: Mapping[str, str]) -> int:
    from runyard_operator.unpack import git
    from runyard_operator.unpack.gitcommand import Git
    from runyard_operator.unpack.secret import Secret

    source = Git(entry["url"], Secret(entry.get("secret")), environ[KEYS_VARIABLE])
    return git.unpack_git(
        source,
        entry["target"],
        entry["commit"],
        ref=entry.get("ref"),
        subpath=entry.get("subpath"),
        submodules=entry.get("submodules", False),
    )


def _tools(entry: Entry, environ: Mapping[str, str]) -> int:
    from runyard_operator.unpack import tools

    return tools.copy_to(entry["target"])


KINDS: Final[Mapping[str, Callable[[Entry, Mapping[str, str]], int]]] = {
    "folder": _folder,
    "check": _check,
    "parts": _parts,
    "stored": _stored,
    "uri": _uri,
    "git": _git,
    "tools": _tools,
}
"""What does the work of each kind of source; each returns how many files there were."""


def run(environ: Mapping[str, str]) -> int:
    """Does what the environment says; returns how many files were put in place.

    Raises:
        Unreachable: a server gave no answer; the same may succeed later.
        UnpackError: the code is refused, or cannot be had.
        OSError: reading or writing failed.
    """
    for folder in filter(None, environ.get(FOLDERS_VARIABLE, "").split(":")):
        make_folder(folder)
    for pipe in filter(None, environ.get(PIPES_VARIABLE, "").split(":")):
        make_pipe(pipe)
    entries = json.loads(environ.get(SOURCES_VARIABLE, "[]"))
    return sum(KINDS[each["kind"]](each, environ) for each in entries)


__all__ = [
    "FOLDERS_VARIABLE",
    "KEYS_VARIABLE",
    "KINDS",
    "PIPES_VARIABLE",
    "SOURCES_VARIABLE",
    "STORE_TOKEN_VARIABLE",
    "UnpackError",
    "Unreachable",
    "make_folder",
    "make_pipe",
    "run",
]
