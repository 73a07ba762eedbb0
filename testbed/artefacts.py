"""The built parts that a cluster is made of, each waited for when it is needed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from testbed import build
from testbed.build.progress import Progress


class Artefacts:
    """A running build of some named parts; leaving the block early cancels the rest."""

    def __init__(self, names: Iterable[str]) -> None:
        """Start to build, most of it from the cache; ``names`` in the order of need."""
        self._progress = Progress()
        self._build = build.start(list(dict.fromkeys(names)), self._progress)

    def __enter__(self) -> Artefacts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is not None:
            self._build.cancel()
        self._build.done()
        self._progress.close()

    def path(self, name: str) -> Path:
        """Wait for one part and return where it lies. Raises BuildError when it cannot be built."""
        return self._build.wait(name)[name]
