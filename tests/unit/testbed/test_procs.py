"""Telling processes apart, and stopping no other than the meant one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed import procs

_STAT = "{pid} ({name}) S 1 2 3 0 -1 4 100 0 0 0 1 2 0 0 20 0 1 0 {start} 1000 200 18446744"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing until it is killed."""
    code = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@given(name=st.text(min_size=1, max_size=15), start=st.integers(0, 2**62))
def test_the_start_time_is_found_whatever_the_name(name: str, start: int) -> None:
    """A command name with spaces and parentheses does not shift the fields."""
    text = _STAT.format(pid=7, name=name, start=start)
    assert procs.parse_stat(text) == procs.Stat("S", 4, start)


def test_a_live_process_is_itself() -> None:
    """The running process is alive under its own identity."""
    me = procs.identify(os.getpid())
    assert me is not None
    assert procs.is_alive(me)


def test_a_zombie_does_not_count_as_alive() -> None:
    """A process that ended but was not waited for is gone."""
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert procs.identify(process.pid) is None
    process.wait()


@pytest.mark.parametrize("change", [{"start": 1}, {"boot": "another"}])
def test_a_stranger_with_the_same_pid_is_left_alone(
    sleeper: subprocess.Popen[bytes], change: dict[str, int | str]
) -> None:
    """A pid with another start time or boot is not signalled, not even with SIGKILL."""
    identity = procs.identify(sleeper.pid)
    assert identity is not None
    procs.stop(replace(identity, **change), hard=True)  # type: ignore[arg-type]
    assert procs.is_alive(identity)


def test_stop_ends_a_process_that_ignores_the_polite_signal(
    sleeper: subprocess.Popen[bytes],
) -> None:
    """After the grace period SIGKILL follows."""
    identity = procs.identify(sleeper.pid)
    assert identity is not None
    procs.stop(identity, grace=0.1)
    assert not procs.is_alive(identity)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Pid, start time, boot and digest survive the file."""
    record = procs.Record(procs.ProcessId(1, 2, "b"), "d")
    procs.write_atomically(tmp_path / "r.json", record.dumps())
    assert procs.read_record(tmp_path / "r.json") == record


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x"}', "null"])
def test_a_damaged_record_is_no_record(tmp_path: Path, text: str) -> None:
    """A file that is not whole is as good as none."""
    path = tmp_path / "r.json"
    path.write_text(text)
    assert procs.read_record(path) is None
