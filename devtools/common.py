"""What the commands share: the repository, errors, and running programs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class DevError(Exception):
    """Something that the user can do something about; the message says what."""


def say(line: str = "") -> None:
    """One line on the terminal, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def heading(text: str) -> None:
    """A line that separates steps."""
    say(f"\n── {text} {'─' * max(3, 76 - len(text))}")


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Runs a program in the repository with the terminal as its own; returns its exit code."""
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def output(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a program in the repository and keeps what it prints, whatever its exit code."""
    return subprocess.run(
        command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False
    )
