"""Builds and fetches everything that the testbed is made of, from package registries only."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from testbed.build import schedule
from testbed.build.artifact import ON_THE_MACHINE, Artifact, key_of
from testbed.build.catalogue import catalogue
from testbed.build.errors import BuildCancelledError, BuildError
from testbed.build.recipes.images import image_ref
from testbed.build.schedule import Build, Event
from testbed.build.store import Store, default_root

__all__ = [
    "Artifact",
    "Build",
    "BuildCancelledError",
    "BuildError",
    "Event",
    "catalogue",
    "disk_needed",
    "image_ref",
    "prune",
    "start",
]


def start(names: Iterable[str], report: Callable[[Event], None]) -> Build:
    """Start to make these parts and what they need; returns at once, the work goes on in threads.

    ``report`` is called from those threads. Raises BuildError for a name that is not in the
    catalogue and when the disk is too small.
    """
    return Build(names, catalogue(), Store(default_root()), report)


def disk_needed(names: Iterable[str]) -> int:
    """Return about how many bytes are still to be written to make these parts."""
    return schedule.disk_needed(names, catalogue(), Store(default_root()))


def prune() -> None:
    """Remove the versions that this checkout does not use, and what broken builds left behind."""
    parts = catalogue()
    keys = {name: key_of(part, parts) for name, part in parts.items()}
    current = {name: key for name, key in keys.items() if key != ON_THE_MACHINE}
    Store(default_root()).prune(current)
