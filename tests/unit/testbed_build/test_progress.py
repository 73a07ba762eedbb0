"""What people see of a build."""

from __future__ import annotations

import io

from testbed.build import Event
from testbed.build.progress import Progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def _feed(progress: Progress, clock: _Clock) -> None:
    progress(Event("etcd", "queued", "", 0.0, 3, 0))
    clock.now += 65
    progress(Event("etcd", "running", "package 7 of about 560", 65.0, 3, 0))
    progress(Event("etcd", "done", "", 66.0, 3, 1))
    progress(Event("kubectl", "done", "", 80.4, 3, 2))
    progress(Event("kubelet", "done", "together with kubectl", 0.0, 3, 3))


def test_plain_output_has_a_line_for_each_finished_work() -> None:
    """Away from a terminal there are whole lines only, each with how far and how long."""
    stream, clock = io.StringIO(), _Clock()
    progress = Progress(stream, clock)
    _feed(progress, clock)
    assert stream.getvalue().splitlines() == [
        "[0/3] building etcd 1m05s (package 7 of about 560)",
        "[1/3] etcd: done in 1m06s",
        "[2/3] kubectl: done in 1m20s",
    ]


def test_a_terminal_gets_one_line_that_changes() -> None:
    """The live line is wiped before a line that stays."""
    stream, clock = _Terminal(), _Clock()
    _feed(Progress(stream, clock), clock)
    wipe = "\r\x1b[K"
    assert stream.getvalue() == (
        f"{wipe}[0/3] building etcd 1m05s (package 7 of about 560)"
        f"{wipe}[1/3] etcd: done in 1m06s\n"
        f"{wipe}[2/3] kubectl: done in 1m20s\n"
    )


def test_the_end_says_where_the_time_went() -> None:
    """The longest work comes first, with all that was made by it."""
    stream, clock = io.StringIO(), _Clock()
    progress = Progress(stream, clock)
    _feed(progress, clock)
    assert progress.summary().splitlines() == [
        "where the time went (1m05s in all):",
        "    1m20s  kubectl, kubelet",
        "    1m06s  etcd",
    ]


def test_a_warm_build_says_nothing() -> None:
    """What comes from the cache is not worth a line."""
    stream = io.StringIO()
    progress = Progress(stream)
    progress(Event("etcd", "cached", "", 0.0, 1, 1))
    progress.close()
    assert stream.getvalue() == ""
