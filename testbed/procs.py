"""Processes told apart for certain: by pid, start time and boot. No stranger is ever signalled."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path

_GONE_STATES = frozenset("ZX")
_EXITING = 0x4  # the kernel's PF_EXITING


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process of this boot: a pid alone is reused, a pid with its start time is not.

    ``start`` is in clock ticks since boot, as in field 22 of ``/proc/<pid>/stat``.
    """

    pid: int
    start: int
    boot: str


def boot_id() -> str:
    """Return the kernel's identifier of the running boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True, slots=True)
class Stat:
    """What ``/proc/<pid>/stat`` says: the state letter, the kernel's flags, the start time."""

    state: str
    flags: int
    start: int


def parse_stat(text: str) -> Stat:
    """Read the text of ``/proc/<pid>/stat``.

    The command name stands in parentheses and may itself hold spaces and parentheses.
    """
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(fields[0], int(fields[6]), int(fields[19]))


def _stat(pid: int) -> Stat | None:
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def identify(pid: int) -> ProcessId | None:
    """Return the identity of the live process ``pid``; None when there is none (or a zombie)."""
    stat = _stat(pid)
    if stat is None or stat.state in _GONE_STATES:
        return None
    return ProcessId(pid, stat.start, boot_id())


def is_alive(process: ProcessId) -> bool:
    """Tell whether exactly this process still runs."""
    return identify(process.pid) == process


def is_lasting(process: ProcessId) -> bool:
    """Tell whether exactly this process runs on; one that is being killed is waited for.

    The first process of a namespace ends only after all others in it, which takes its time.
    """
    stat = _stat(process.pid)
    if stat is not None and stat.flags & _EXITING:
        wait_gone(process, 30.0)
    return is_alive(process)


def send(process: ProcessId, signum: signal.Signals) -> bool:
    """Signal exactly this process; False when it is gone."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # The pidfd is open: from here on the pid cannot pass to another process unnoticed.
        if not is_alive(process):
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, signum)
        return True
    finally:
        os.close(fd)


def wait_gone(process: ProcessId, seconds: float) -> bool:
    """Wait up to ``seconds`` for the end of the process; tell whether it ended."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        # Not is_alive: while other threads of a killed process still hold its ports, its first
        # thread is a zombie already. Only the pidfd tells when all of them are gone.
        stat = _stat(process.pid)
        if stat is None or (stat.start, boot_id()) != (process.start, process.boot):
            return True
        # poll, not select: select refuses file descriptors from 1024 on.
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        return bool(poller.poll(seconds * 1000))
    finally:
        os.close(fd)


def stop(process: ProcessId, *, grace: float = 10.0, hard: bool = False) -> None:
    """End the process: SIGTERM and, after ``grace`` seconds or at once when ``hard``, SIGKILL."""
    if not hard and send(process, signal.SIGTERM) and wait_gone(process, grace):
        return
    if send(process, signal.SIGKILL):
        wait_gone(process, 30.0)


@dataclass(frozen=True, slots=True)
class Record:
    """What the launcher writes about a process before it executes the program."""

    process: ProcessId
    digest: str

    def dumps(self) -> str:
        """Return the record as JSON."""
        process = self.process
        fields = {"pid": process.pid, "start": process.start, "boot": process.boot}
        return json.dumps({**fields, "digest": self.digest})


def read_record(path: Path) -> Record | None:
    """Read a record; None when there is none or it is not whole."""
    try:
        raw = json.loads(path.read_text())
        process = ProcessId(int(raw["pid"]), int(raw["start"]), str(raw["boot"]))
        return Record(process, str(raw["digest"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace ``path`` by ``text`` in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "w") as file:
        file.write(text)
    temporary.replace(path)
