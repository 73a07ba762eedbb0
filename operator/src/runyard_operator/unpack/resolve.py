"""Finds the commit that a ref of a repository names now: `python -m
runyard_operator.unpack.resolve`.

It runs once for an experiment, in a pod of the experiment's namespace, which alone may read the
credentials there. The answer is the pod's termination message: {"commit": ...}, or why there is
none, with exit code 1, or 75 where the same question may be answered later.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Final

from runyard_operator.unpack import KEYS_VARIABLE, UnpackError, Unreachable
from runyard_operator.unpack.gitcommand import Git
from runyard_operator.unpack.problems import one_line, redacted
from runyard_operator.unpack.secret import Secret

RESOLVE_VARIABLE: Final = "RUNYARD_RESOLVE"
"""Environment variable: JSON {"url", "ref" or null, "secret": folder of the mounted Secret or
null}."""
EXIT_REFUSED: Final = 1
EXIT_LATER: Final = 75
"""EX_TEMPFAIL of sysexits.h."""
TIMEOUT: Final = 60.0
MESSAGE_BYTES: Final = 4000
"""The kubelet keeps 4096 bytes of a termination message."""

_FULL: Final = re.compile(r"^([0-9a-f]{40}|[0-9a-f]{64})$")
_SHORT: Final = re.compile(r"^[0-9a-f]{4,39}$")
_SHOWN: Final = 5


def resolve(git: Git, ref: str | None) -> str:
    """The commit that `ref` names: a branch, a tag (what it was put on), a whole commit, or HEAD.

    Raises:
        Unreachable: the server gave no answer.
        UnpackError: there is no such ref, or two of the name that differ.
    """
    name = ref or "HEAD"
    if _FULL.match(name):
        return name
    wanted = _names(name)
    found = _refs(git, *(each for full in wanted for each in (full, f"{full}^{{}}")))
    commits = {full: found.get(f"{full}^{{}}", found.get(full)) for full in wanted}
    named = {full: commit for full, commit in commits.items() if commit is not None}
    if len(set(named.values())) > 1:
        raise UnpackError(
            f"{name!r} is a branch and a tag of {redacted(git.url)}: write one of"
            f" {', '.join(sorted(named))}"
        )
    for commit in named.values():
        return commit
    raise UnpackError(_missing(git, name))


def _names(name: str) -> list[str]:
    if name == "HEAD" or name.startswith("refs/"):
        return [name]
    return [f"refs/heads/{name}", f"refs/tags/{name}"]


def _refs(git: Git, *patterns: str) -> dict[str, str]:
    """What the server says of the refs that end with one of the patterns."""
    lines = git.run("ls-remote", "-q", "--", git.url, *patterns, timeout=TIMEOUT).splitlines()
    pairs = (line.split("\t", 1) for line in lines if "\t" in line)
    return {ref: commit for commit, ref in pairs}


def _missing(git: Git, name: str) -> str:
    where = redacted(git.url)
    if name == "HEAD":
        return f"{where} has no HEAD: the repository is empty; push a commit, or name a ref"
    if _SHORT.match(name):
        return f"{where} has no branch or tag {name!r}: of a commit, give all 40 digits"
    lines = git.run("ls-remote", "-q", "--heads", "--tags", "--", git.url, timeout=TIMEOUT)
    refs = (line.partition("\t")[2] for line in lines.splitlines())
    short = sorted({ref.split("/", 2)[2].removesuffix("^{}") for ref in refs if ref})
    like = difflib.get_close_matches(name, short[:20_000], n=_SHOWN, cutoff=0.5) or short[:_SHOWN]
    if not like:
        return f"{where} has no branch or tag {name!r}: it has none at all"
    return f"{where} has no branch or tag {name!r}; it has {', '.join(like)}"


def answer(environ: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and termination message."""
    asked = json.loads(environ[RESOLVE_VARIABLE])
    try:
        git = Git(asked["url"], Secret(asked.get("secret")), environ[KEYS_VARIABLE])
        return 0, json.dumps({"commit": resolve(git, asked.get("ref"))})
    except Unreachable as problem:
        return EXIT_LATER, one_line(str(problem))
    except (UnpackError, OSError) as problem:
        return EXIT_REFUSED, one_line(str(problem))


def main() -> int:
    """The program; see the module."""
    code, message = answer(os.environ)
    place = os.environ.get("RUNYARD_TERMINATION_LOG", "/dev/termination-log")
    with open(place, "wb") as log:
        log.write(message.encode(errors="replace")[:MESSAGE_BYTES])
    print(message, file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
