"""Reads the termination message that the wrapper of `command` writes."""

from __future__ import annotations

from collections.abc import Sequence

from runyard_operator.backends.pods.command import ERROR_HEADER, OUTPUTS_HEADER


class OutputsError(Exception):
    """The task ended well and its outputs are not there; the message is for the user."""


def is_framed(message: str) -> bool:
    """Whether the wrapper wrote the message; a log's last lines are none of its."""
    return message.partition("\n")[0] in (OUTPUTS_HEADER, ERROR_HEADER)


def refusal(message: str) -> str | None:
    """What the wrapper said about outputs that it would not take; None when it said nothing."""
    header, _, rest = message.partition("\n")
    return rest.strip() if header == ERROR_HEADER else None


def parse(message: str, declared: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The declared outputs as (name, value), in the order of their declaration.

    One newline at the end of a value is not part of it: `echo` writes it.

    Raises:
        OutputsError: an output is not in the message, or is not text.
    """
    found: dict[str, str] = {}
    header, _, rest = message.partition("\n")
    data = rest.encode() if header == OUTPUTS_HEADER else b""
    while data:
        line, _, data = data.partition(b"\n")
        name, _, size = line.decode(errors="replace").partition(" ")
        if not size.isascii() or not size.isdigit() or data[int(size) : int(size) + 1] != b"\n":
            raise OutputsError(
                f"the outputs after {', '.join(found) or 'the first line'} cannot be read: outputs"
                " must be UTF-8 text"
            )
        found[name] = data[: int(size)].decode(errors="replace").removesuffix("\n")
        data = data[int(size) + 1 :]
    missing = [name for name in declared if name not in found]
    if missing:
        raise OutputsError(f"the task succeeded and left no output {', '.join(missing)}")
    return tuple((name, found[name]) for name in declared)
