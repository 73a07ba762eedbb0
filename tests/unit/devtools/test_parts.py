"""The build that goes on while other things are tested."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from devtools.common import DevError
from devtools.parts import Parts
from testbed.build import Artifact, Build, Event
from testbed.build.artifact import Job
from testbed.build.store import Store
from tests.support.build_parts import Writer, catalogue, held_by, stop_with
from tests.support.waiting import eventually


def building(folder: Path, **steps: Callable[[Job], None]) -> Parts:
    """A build of parts of these names, each of which is made in its step."""
    parts = [Artifact(name, Writer(content=name, before=step)) for name, step in steps.items()]

    def start(names: Sequence[str], report: Callable[[Event], None]) -> Build:
        return Build(names, catalogue(*parts), Store(folder / "store"), report)

    return Parts(list(steps), folder / "build.log", start)


def test_what_is_there_is_not_held_up_by_the_rest(tmp_path: Path) -> None:
    """A layer begins once its own parts are there, also while others are made."""
    entered, leave = threading.Event(), threading.Event()
    with building(tmp_path, slow=held_by(entered, leave), quick=lambda _: None) as parts:
        parts.wait("quick")
        assert entered.wait(30)
        leave.set()
        parts.wait("slow", "quick")


def test_a_part_that_fails_is_told_to_who_needs_it(tmp_path: Path) -> None:
    """The others are there all the same; the log has the reason, too."""
    with building(tmp_path, bad=stop_with("no such release"), good=lambda _: None) as parts:
        parts.wait("good")
        with pytest.raises(DevError, match="cannot be built: no such release"):
            parts.wait("good", "bad")
    assert "bad: failed: no such release" in (tmp_path / "build.log").read_text()


def test_nothing_is_shown_while_nobody_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines of a build do not come between those of the tests that run meanwhile."""
    log = tmp_path / "build.log"
    with building(tmp_path, bad=stop_with("no such release")):
        eventually(lambda: "bad: failed" in log.read_text(), "the log has it")
        assert capsys.readouterr() == ("", "")


def test_the_build_yields_to_the_tests(tmp_path: Path) -> None:
    """Its threads, and so all that they start, have a lower priority than the rest."""
    own, seen = os.getpriority(os.PRIO_PROCESS, 0), []
    with building(tmp_path, part=lambda _: seen.append(os.nice(0))) as parts:
        parts.wait("part")
    assert seen == [min(own + 10, 19)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == own


def test_leaving_stops_what_is_not_finished(tmp_path: Path) -> None:
    """Nobody waits for a part that nobody needs any more."""
    entered, seen = threading.Event(), []

    def hold(job: Job) -> None:
        entered.set()
        seen.append(job.commands.cancelled.wait(60))

    with building(tmp_path, endless=hold):
        assert entered.wait(30)
    assert seen == [True]
