"""Recipes that write small files, to try the machinery of builds without any network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testbed.build.artifact import Artifact, Job
from testbed.build.errors import BuildError


@dataclass(frozen=True)
class Writer:
    """Writes what its artefact is called, and counts how often; ``before`` runs first."""

    lane: str = "light"
    content: str = "one"
    before: Callable[[Job], None] = field(default=lambda _job: None, compare=False)
    made: list[str] = field(default_factory=list, compare=False)

    def inputs(self, source: str) -> Mapping[str, str]:
        return {"source": source, "content": self.content}

    def locate(self, source: str) -> Path | None:
        return None

    def make(self, wanted: Sequence[Artifact], job: Job) -> None:
        for item in wanted:
            job.target(item.name).write_text("half")
            self.before(job)
            needs = "".join(job.path(need).read_text() for need in item.needs)
            job.target(item.name).write_text(f"{needs}{item.name};")
            self.made.append(item.name)


@dataclass(frozen=True)
class Installed:
    """A program that lies on the machine once it is installed."""

    place: Path
    lane: str = "apt"

    def inputs(self, source: str) -> Mapping[str, str] | None:
        return None

    def locate(self, source: str) -> Path | None:
        path = self.place / source
        return path if path.exists() else None

    def make(self, wanted: Sequence[Artifact], job: Job) -> None:
        for item in wanted:
            (self.place / item.source).write_text("installed;")


def catalogue(*parts: Artifact) -> dict[str, Artifact]:
    """Return a catalogue of these parts."""
    return {part.name: part for part in parts}


def stop_with(message: str) -> Callable[[Job], None]:
    """Return a step that fails."""

    def fail(_job: Job) -> None:
        raise BuildError(message)

    return fail


def held_by(entered: threading.Event, leave: threading.Event) -> Callable[[Job], None]:
    """Return a step that says it was entered and waits until it may leave."""

    def wait(_job: Job) -> None:
        entered.set()
        leave.wait(30)

    return wait
