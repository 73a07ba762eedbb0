"""What an artefact is: a name, a recipe that makes it, and the artefacts it is made from."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from testbed.build.commands import Commands

# A change of the way artefacts are laid out makes all old ones invalid.
FORMAT = "1"
ON_THE_MACHINE = "on-the-machine"


@dataclass(frozen=True, slots=True)
class Job:
    """What a recipe has at hand while it makes its artefacts."""

    commands: Commands
    log: Path
    # An empty folder on the cache's file system, removed afterwards.
    scratch: Path
    # A folder that stays between builds, for one build of this recipe at a time.
    keep: Path
    path: Callable[[str], Path]
    target: Callable[[str], Path]
    say: Callable[[str], None]

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """Run a command, its last line of output shown as progress unless ``on_line`` is given."""
        self.commands.run(argv, log=self.log, cwd=cwd, env=env, on_line=on_line or self.say)


class Recipe(Protocol):
    """How artefacts are made. In some lanes, those with an equal recipe are made together."""

    @property
    def lane(self) -> str:
        """The queue in which the work runs: see ``schedule.LANES``."""
        ...

    def inputs(self, source: str) -> Mapping[str, str] | None:
        """All that the result depends on, beside the needs; None: it lies on the machine itself."""
        ...

    def locate(self, source: str) -> Path | None:
        """Return the result when it lies on the machine, outside the cache."""
        ...

    def make(self, wanted: Sequence[Artifact], job: Job) -> None:
        """Write each wanted artefact to ``job.target(name)``. Raises BuildError."""
        ...


@dataclass(frozen=True, slots=True)
class Artifact:
    """One part of the testbed that is built or fetched."""

    name: str
    recipe: Recipe
    # What the recipe makes it from, in the recipe's own terms (a Go package, a Debian package).
    source: str = ""
    needs: tuple[str, ...] = ()
    # Bytes on disk while it is made and afterwards, roughly.
    size: int = 0


def digest(text: str | bytes) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def digest_tree(root: Path, *parts: str) -> str:
    """Return a digest of the files below ``root/part``: names, modes and contents.

    Caches of Python and hidden files do not count.
    """
    lines = []
    for part in parts:
        top = root / part
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            name = path.relative_to(root)
            if path.is_file() and not any(
                piece == "__pycache__" or piece.startswith(".") for piece in name.parts
            ):
                mode = path.stat().st_mode & 0o111
                lines.append(f"{name} {mode:o} {digest(path.read_bytes())}")
    return digest("\n".join(lines))


def key_of(artifact: Artifact, catalogue: Mapping[str, Artifact]) -> str:
    """Return the key of an artefact's version: it changes with everything the result depends on."""
    inputs = artifact.recipe.inputs(artifact.source)
    if inputs is None:
        return ON_THE_MACHINE
    facts = {
        "format": FORMAT,
        "platform": f"{platform.system()}/{platform.machine()}",
        "recipe": type(artifact.recipe).__name__,
        "inputs": dict(inputs),
        "needs": {need: key_of(catalogue[need], catalogue) for need in artifact.needs},
    }
    return digest(json.dumps(facts, sort_keys=True))[:20]
