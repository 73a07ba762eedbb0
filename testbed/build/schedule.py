"""Runs the work of a build: lanes beside each other, each artefact as soon as its needs are there.

Go compiles one batch at a time, for it fills the processor by itself; fetching and image work wait
for the network and the disk, so they run beside it.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from testbed.build.artifact import ON_THE_MACHINE, Artifact, Job, Recipe, key_of
from testbed.build.catalogue import checked
from testbed.build.commands import Commands
from testbed.build.errors import BuildCancelledError, BuildError
from testbed.build.store import Store, leaf

LANES = {"go": 1, "apt": 1, "pip": 2, "image": 2, "light": 2}
# Lanes in which artefacts of one recipe are made by one command.
TOGETHER = ("go", "apt")
_SPARE_BYTES = 2 * 10**9


@dataclass(frozen=True, slots=True)
class Event:
    """A step of one artefact: ``state`` is queued, running, cached, done or failed.

    ``seconds`` is how long the work took so far; artefacts made together report it once.
    """

    name: str
    state: str
    detail: str
    seconds: float
    total: int
    finished: int


@dataclass(frozen=True, slots=True)
class _Task:
    """Artefacts that one call of their recipe makes."""

    recipe: Recipe
    parts: tuple[Artifact, ...]

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(need for part in self.parts for need in part.needs)


def found(artifact: Artifact, parts: Mapping[str, Artifact], store: Store) -> Path | None:
    """Return where a finished artefact lies, on the machine or in the cache."""
    key = key_of(artifact, parts)
    located = artifact.recipe.locate(artifact.source)
    return located or (None if key == ON_THE_MACHINE else store.find(artifact.name, key))


def missing(names: Iterable[str], parts: Mapping[str, Artifact], store: Store) -> list[str]:
    """Return what must be made for ``names``, needs included, in the catalogue's order."""
    absent: set[str] = set()
    seen: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in seen:
            seen.add(name)
            if found(parts[name], parts, store) is None:
                absent.add(name)
                queue += parts[name].needs
    return [name for name in parts if name in absent]


class Build:
    """A running build, in threads of its own."""

    def __init__(
        self,
        names: Iterable[str],
        parts: Mapping[str, Artifact],
        store: Store,
        report: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start to make what is missing. Raises BuildError for unknown names or too little disk."""
        self._parts = parts
        self._store = store
        self._report = report
        self._clock = clock
        self._commands = Commands()
        self._changed = threading.Condition()
        wanted = checked(names, parts)
        absent = missing(wanted, parts, store)
        _check_disk(absent, parts, store)
        # What is known of each part: where it lies, why it failed, or nothing yet.
        self._known: dict[str, Path | BuildError | None] = dict.fromkeys(absent)
        needed = {need for name in absent for need in parts[name].needs}
        for name in sorted(needed.union(wanted).difference(absent), key=list(parts).index):
            self._known[name] = found(parts[name], parts, store)
            self._tell(name, "cached")
        self._lanes = _lanes(absent, parts)
        for name in absent:
            self._tell(name, "queued")
        self._threads = [
            threading.Thread(target=self._serve, args=(lane,), name=f"build-{lane}", daemon=True)
            for lane, tasks in self._lanes.items()
            for _ in range(min(LANES[lane], len(tasks)))
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, *names: str) -> dict[str, Path]:
        """Wait until these parts are there (all of the build's, when none is named).

        Raises BuildError when one of them cannot be made.
        """
        with self._changed:
            wanted = names or tuple(self._known)
            if strange := [name for name in wanted if name not in self._known]:
                raise BuildError(f"{', '.join(strange)}: not part of this build")
            while True:
                paths: dict[str, Path] = {}
                for name in wanted:
                    known = self._known[name]
                    if isinstance(known, BuildError):
                        raise known
                    if known is not None:
                        paths[name] = known
                if len(paths) == len(set(wanted)):
                    return paths
                self._changed.wait()

    def cancel(self) -> None:
        """Stop all work and wait for its end; what is finished stays in the cache."""
        self._commands.cancel()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def done(self) -> bool:
        """Say whether no work is left."""
        return not any(thread.is_alive() for thread in self._threads)

    def _serve(self, lane: str) -> None:
        """Do the tasks of one lane, the first of them whose needs are there, until none is left."""
        while (task := self._next(lane)) is not None:
            names = [part.name for part in task.parts]
            started = self._clock()
            try:
                self._make(task, started)
            except BuildError as error:
                self._fail(names, error)
            except Exception as error:  # a thread that dies silently would let others wait for ever
                reason = f"{names[0]}: {type(error).__name__}: {error}"
                self._fail(names, BuildError(reason))

    def _next(self, lane: str) -> _Task | None:
        with self._changed:
            while tasks := self._lanes[lane]:
                for task in tasks:
                    needs = [self._known.get(need) for need in task.needs]
                    broken = [need for need in needs if isinstance(need, BuildError)]
                    if broken or self._commands.cancelled.is_set():
                        error = (
                            broken[0] if broken else BuildCancelledError("the build was stopped")
                        )
                        tasks.remove(task)
                        self._fail([part.name for part in task.parts], error)
                        break
                    if all(need is not None for need in needs):
                        tasks.remove(task)
                        return task
                else:
                    self._changed.wait()
            return None

    def _make(self, task: _Task, started: float) -> None:
        first = task.parts[0].name
        log = self._store.log(first)

        def say(detail: str) -> None:
            self._tell(first, "running", detail, self._clock() - started)

        with ExitStack() as held:
            for name in _locks(task, self._parts):
                held.enter_context(
                    self._store.locked(
                        name, self._commands.cancelled, lambda: say("made by another build")
                    )
                )
            # Another build may have made some while this one waited for the locks.
            todo = [part for part in task.parts if found(part, self._parts, self._store) is None]
            log.unlink(missing_ok=True)
            say("")
            if todo:
                staging = held.enter_context(self._store.staging(first))
                self._run(todo, staging, log, say, started)
        for part in task.parts:
            path = found(part, self._parts, self._store)
            if path is None:
                raise BuildError(f"{part.name} vanished from the cache while it was built: again")
            together = "" if part.name == first else f"together with {first}"
            seconds = 0.0 if together else self._clock() - started
            self._settle(part.name, path)
            self._tell(part.name, "done", together, seconds)

    def _run(
        self,
        todo: Sequence[Artifact],
        staging: Path,
        log: Path,
        say: Callable[[str], None],
        started: float,
    ) -> None:
        finished = staging / "finished"
        scratch = staging / "scratch"
        finished.mkdir()
        scratch.mkdir()
        keep = self._store.kept(todo[0].name)
        job = Job(
            self._commands, log, scratch, keep, self._path, lambda name: finished / leaf(name), say
        )
        todo[0].recipe.make(todo, job)
        for part in todo:
            key = key_of(part, self._parts)
            if key != ON_THE_MACHINE:
                seconds = self._clock() - started
                self._store.publish(finished / leaf(part.name), part.name, key, seconds)

    def _path(self, name: str) -> Path:
        path = self._known[name]
        if not isinstance(path, Path):
            raise BuildError(f"{name} is needed before it is there")
        return path

    def _settle(self, name: str, outcome: Path | BuildError) -> None:
        with self._changed:
            self._known[name] = outcome
            self._changed.notify_all()

    def _fail(self, names: Iterable[str], error: BuildError) -> None:
        for name in names:
            self._settle(name, error)
            self._tell(name, "failed", str(error))

    def _tell(self, name: str, state: str, detail: str = "", seconds: float = 0.0) -> None:
        with self._changed:
            finished = sum(known is not None for known in self._known.values())
            total = len(self._known)
        self._report(Event(name, state, detail, seconds, total, finished))


def disk_needed(names: Iterable[str], parts: Mapping[str, Artifact], store: Store) -> int:
    """Return how many bytes will be written to make what is missing."""
    return sum(parts[name].size for name in missing(checked(names, parts), parts, store))


def _check_disk(absent: Sequence[str], parts: Mapping[str, Artifact], store: Store) -> None:
    if not absent:
        return
    store.root.mkdir(parents=True, exist_ok=True)
    needed = sum(parts[name].size for name in absent) + _SPARE_BYTES
    free = shutil.disk_usage(store.root).free
    if free < needed:
        raise BuildError(
            f"not enough disk: about {needed / 1e9:.0f} GB are needed under {store.root}, "
            f"{free / 1e9:.0f} GB are free; free some, or set XDG_CACHE_HOME to a larger disk"
        )


def _lanes(absent: Iterable[str], parts: Mapping[str, Artifact]) -> dict[str, list[_Task]]:
    by_recipe: dict[Recipe, list[Artifact]] = {}
    alone: list[_Task] = []
    for name in absent:
        part = parts[name]
        if part.recipe.lane in TOGETHER:
            by_recipe.setdefault(part.recipe, []).append(part)
        else:
            alone.append(_Task(part.recipe, (part,)))
    tasks = [_Task(recipe, tuple(batch)) for recipe, batch in by_recipe.items()] + alone
    lanes: dict[str, list[_Task]] = {}
    for task in tasks:
        lanes.setdefault(task.recipe.lane, []).append(task)
    return lanes


def _locks(task: _Task, parts: Mapping[str, Artifact]) -> list[str]:
    """Return the locks to hold, in one order for all builds; the machine has one for all of it."""
    return sorted(
        {"machine" if key_of(part, parts) == ON_THE_MACHINE else part.name for part in task.parts}
    )
