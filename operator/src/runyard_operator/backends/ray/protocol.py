"""What the driver's wrapper says at the end of its log, and the submitter in its last message.

Standard library only: it is loaded in the submitter's pod.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

REQUEST_VARIABLE: Final = "RUNYARD_RAY_JOB"
"""Environment variable of the submitter: the body of Ray's POST /api/jobs/, as JSON."""
SHARED_VARIABLE: Final = "RUNYARD_RAY_SHARED"
"""Set in the submitter when the cluster outlives the job."""

EXIT_RAY: Final = 66
"""Exit code of the submitter when Ray, not the driver, has failed; the message says how."""
TROUBLE_HEADER: Final = "runyard-ray/1"
DRIVER_MARK: Final = "runyard-driver/1"
"""First word of the last line of a driver's log: mark, job, exit code, frame in base64 or `-`."""


@dataclass(frozen=True, slots=True)
class Driver:
    """How the driver ended; `frame` is the wrapper's message about the outputs."""

    code: int
    frame: str


def trouble(kind: str, message: str) -> str:
    """A termination message: Ray, not the driver, has failed."""
    return f"{TROUBLE_HEADER} {kind}\n{message}"[:4000]


def read_trouble(message: str) -> tuple[str, str] | None:
    """Kind and text of such a message; None for any other one."""
    header, _, text = message.partition("\n")
    name, _, kind = header.partition(" ")
    return (kind, text.strip()) if name == TROUBLE_HEADER and kind else None


def read_mark(line: str, job: str) -> Driver | None:
    """The driver's end, if the line tells that of this job."""
    words = line.split()
    if len(words) != 4 or words[:2] != [DRIVER_MARK, job] or not words[2].isdigit():
        return None
    if words[3] == "-":
        return Driver(int(words[2]), "")
    try:
        frame = base64.b64decode(words[3], validate=True)
    except binascii.Error:
        return None
    return Driver(int(words[2]), frame.decode(errors="surrogateescape"))


class Lines:
    """The driver's log on its way: without what is meant for us, and each character once.

    Ray sends the log from its beginning on every connection.
    """

    def __init__(self, job: str, write: Callable[[str], object]) -> None:
        self._job = job
        self._write = write
        self._seen = 0
        self._at = 0
        self._open = ""
        self._blank = False
        self.driver: Driver | None = None
        self.ended = asyncio.Event()

    def again(self) -> None:
        """A new connection begins."""
        self._at = 0

    def take(self, text: str) -> None:
        """The next piece of the log."""
        new = text[max(0, self._seen - self._at) :]
        self._at += len(text)
        self._seen = max(self._seen, self._at)
        *whole, self._open = (self._open + new).split("\n")
        for line in whole:
            self._line(line)
        # Progress bars have no ends of lines. Only what may become a mark is kept back.
        if self._open and not self._may_be_mark(self._open):
            self._write(self._held() + self._open)
            self._open = ""

    def finish(self) -> None:
        """The log is over."""
        if self._open:
            self._write(self._held() + self._open)
        self._open = ""

    def _line(self, line: str) -> None:
        found = read_mark(line, self._job)
        if found is not None:
            # The wrapper begins a new line, since the driver may not have ended its own.
            self._blank = False
            self.driver = found
            self.ended.set()
        elif line.startswith(f"Running entrypoint for job {self._job}:"):
            return  # Ray's word about our wrapper
        elif line:
            self._write(f"{self._held()}{line}\n")
        else:
            self._write(self._held())
            self._blank = True

    def _held(self) -> str:
        """The empty line that was kept back, because the mark might have followed it."""
        held, self._blank = "\n" if self._blank else "", False
        return held

    @staticmethod
    def _may_be_mark(text: str) -> bool:
        return text.startswith(DRIVER_MARK) or DRIVER_MARK.startswith(text)
