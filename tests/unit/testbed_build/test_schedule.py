"""How builds run: in order of need, once, whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from testbed.build import BuildError, Event
from testbed.build.artifact import Artifact, Job
from testbed.build.schedule import Build, disk_needed
from testbed.build.store import Store
from tests.support.build_parts import Installed, Writer, catalogue, held_by, stop_with

_SECONDS = 30.0


def _ignore(_event: Event) -> None:
    return


def test_needs_come_first(tmp_path: Path) -> None:
    """A part is made after what it needs, from what they became; each event counts on."""
    writer = Writer()
    parts = catalogue(
        Artifact("base", writer),
        Artifact("middle", Writer(lane="image"), needs=("base",)),
        Artifact("top", writer, needs=("middle", "base")),
    )
    events: list[Event] = []
    build = Build(["top"], parts, Store(tmp_path), events.append)
    assert build.wait("top")["top"].read_text() == "base;middle;base;top;"
    build.cancel()
    assert [e.name for e in events if e.state == "done"] == ["base", "middle", "top"]
    assert {e.total for e in events} == {3}
    assert events[-1].finished == 3


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    """A second build takes the first one's result, and does not look for its needs."""
    writer = Writer()
    parts = catalogue(Artifact("base", writer), Artifact("top", writer, needs=("base",)))
    first = Build(["top"], parts, Store(tmp_path), _ignore).wait("top")
    events: list[Event] = []
    second = Build(["top"], parts, Store(tmp_path), events.append).wait("top")
    assert second == first
    assert writer.made == ["base", "top"]
    assert [(e.name, e.state, e.finished, e.total) for e in events] == [("top", "cached", 1, 1)]


def test_parts_of_one_recipe_are_made_by_one_call_in_the_go_lane(tmp_path: Path) -> None:
    """What one command builds together is one piece of work, told as such."""
    go = Writer(lane="go")
    events: list[Event] = []
    parts = catalogue(Artifact("a", go), Artifact("b", go))
    build = Build(["b", "a"], parts, Store(tmp_path), events.append)
    build.wait()
    build.cancel()
    assert [(e.name, e.detail) for e in events if e.state == "done"] == [
        ("a", ""),
        ("b", "together with a"),
    ]


def test_a_failure_reaches_what_needs_it_and_nothing_else(tmp_path: Path) -> None:
    """A broken part fails its dependants with its own reason; the others are made."""
    parts = catalogue(
        Artifact("broken", Writer(before=stop_with("the registry is down"))),
        Artifact("above", Writer(), needs=("broken",)),
        Artifact("other", Writer(content="other")),
    )
    build = Build(["above", "other"], parts, Store(tmp_path), _ignore)
    assert build.wait("other")["other"].is_file()
    with pytest.raises(BuildError, match="the registry is down"):
        build.wait("above")


def test_two_builds_at_once_make_a_part_once(tmp_path: Path) -> None:
    """The second build waits for the first one's work and shares it."""
    entered, leave = threading.Event(), threading.Event()
    writer = Writer(before=held_by(entered, leave))
    parts = catalogue(Artifact("slow", writer))
    waiting = threading.Event()

    def note(event: Event) -> None:
        if event.detail == "made by another build":
            waiting.set()

    first = Build(["slow"], parts, Store(tmp_path), _ignore)
    assert entered.wait(_SECONDS)
    second = Build(["slow"], parts, Store(tmp_path), note)
    assert waiting.wait(_SECONDS)
    leave.set()
    assert first.wait() == second.wait()
    assert writer.made == ["slow"]


def test_an_interrupted_build_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    """After a failure in the middle the next build starts anew, and its result is whole."""
    broken = catalogue(Artifact("part", Writer(before=stop_with("power cut"))))
    with pytest.raises(BuildError, match="power cut"):
        Build(["part"], broken, Store(tmp_path), _ignore).wait()
    whole = catalogue(Artifact("part", Writer()))
    assert Build(["part"], whole, Store(tmp_path), _ignore).wait()["part"].read_text() == "part;"


def test_a_stopped_build_ends_its_commands(tmp_path: Path) -> None:
    """Cancelling kills what runs, fails what waits, and leaves no thread behind."""
    running = threading.Event()

    def sleep(job: Job) -> None:
        job.run(["sh", "-c", "echo on; sleep 600"], on_line=lambda _line: running.set())

    parts = catalogue(
        Artifact("long", Writer(before=sleep)), Artifact("next", Writer(), needs=("long",))
    )
    build = Build(["next"], parts, Store(tmp_path), _ignore)
    assert running.wait(_SECONDS)
    build.cancel()
    assert build.done()
    with pytest.raises(BuildError, match="stopped"):
        build.wait("next")


def test_what_lies_on_the_machine_is_not_cached(tmp_path: Path) -> None:
    """A program is installed once and found in its own place from then on."""
    place = tmp_path / "machine"
    place.mkdir()
    parts = catalogue(
        Artifact("tool", Installed(place), "tool"), Artifact("made", Writer(), needs=("tool",))
    )
    build = Build(["made"], parts, Store(tmp_path / "cache"), _ignore)
    assert build.wait("made", "tool") == {
        "made": build.wait("made")["made"],
        "tool": place / "tool",
    }
    assert build.wait("made")["made"].read_text() == "installed;made;"


def test_too_little_disk_is_said_before_any_work(tmp_path: Path) -> None:
    """The message tells how much is needed."""
    parts = catalogue(Artifact("huge", Writer(), size=10**18))
    with pytest.raises(BuildError, match=r"not enough disk: about 1000000002 GB are needed"):
        Build(["huge"], parts, Store(tmp_path), _ignore)
    assert disk_needed(["huge"], parts, Store(tmp_path)) == 10**18


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    """The message lists what there is."""
    with pytest.raises(BuildError, match="no such part: kublet; there are: kubelet"):
        Build(["kublet"], catalogue(Artifact("kubelet", Writer())), Store(tmp_path), _ignore)


def test_the_last_versions_are_kept(tmp_path: Path) -> None:
    """New content makes a new version beside the old; beyond three the oldest goes."""
    paths = []
    for content in ("1", "2", "3", "4"):
        parts = catalogue(Artifact("part", Writer(content=content)))
        paths.append(Build(["part"], parts, Store(tmp_path), _ignore).wait()["part"])
        _age(tmp_path)
    assert [path.exists() for path in paths] == [False, True, True, True]


def _age(root: Path) -> None:
    for version in (root / "artifacts" / "part").iterdir():
        stamp = version.stat().st_mtime - 60
        os.utime(version, (stamp, stamp))
