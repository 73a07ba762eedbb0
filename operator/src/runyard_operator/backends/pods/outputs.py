"""Reads the termination message that the shell of `wrapper` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from runyard.api.packages import Artifact
from runyard.api.unit import ArtifactStatus
from runyard_operator.backends.pods.wrapper import ERROR_HEADER, UNFINISHED_HEADER
from runyard_operator.engine import results

_UNKNOWN: Final = "-"


class OutputsError(Exception):
    """The task ended well and its results are not there; the message is for the user."""


@dataclass(slots=True)
class _Told:
    outputs: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, tuple[int | None, str | None]] = field(default_factory=dict)


def is_framed(message: str) -> bool:
    """Whether the wrapper wrote the message; a log's last lines are none of its."""
    return message.partition("\n")[0] in (results.HEADER, ERROR_HEADER, UNFINISHED_HEADER)


def refusal(message: str) -> str | None:
    """What the wrapper said about results that it would not take; None when it said nothing."""
    header, _, rest = message.partition("\n")
    return rest.strip() if header in (ERROR_HEADER, UNFINISHED_HEADER) else None


def is_unfinished(message: str) -> bool:
    """Whether the wrapper said that the program ended well before it was done."""
    return message.partition("\n")[0] == UNFINISHED_HEADER


def parse(message: str, declared: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The declared outputs as (name, value), in the order of their declaration.

    One newline at the end of a value is not part of it: `echo` writes it.

    Raises:
        OutputsError: an output is not in the message, or is not text.
    """
    found = _read(message).outputs
    missing = [name for name in declared if name not in found]
    if missing:
        raise OutputsError(f"the task succeeded and left no output {', '.join(missing)}")
    return tuple((name, found[name]) for name in declared)


def artifacts(message: str, declared: Sequence[Artifact]) -> tuple[ArtifactStatus, ...]:
    """The declared artifacts with what the wrapper found, in the order of their declaration.

    Raises:
        OutputsError: one is not in the message.
    """
    found = _read(message).artifacts
    missing = [each.name for each in declared if each.name not in found]
    if missing:
        raise OutputsError(f"the task succeeded and told nothing of artifact {', '.join(missing)}")
    return tuple(
        ArtifactStatus(
            name=each.name,
            path=each.path,
            uri=each.uri,
            size_bytes=found[each.name][0],
            digest=found[each.name][1],
        )
        for each in declared
    )


def _read(message: str) -> _Told:
    told = _Told()
    header, _, rest = message.partition("\n")
    data = rest.encode() if header == results.HEADER else b""
    while data:
        line, _, data = data.partition(b"\n")
        words = line.decode(errors="replace")
        if words.startswith("@"):
            name, size, digest = (*words[1:].split(" "), _UNKNOWN, _UNKNOWN)[:3]
            told.artifacts[name] = (
                int(size) if size.isascii() and size.isdigit() else None,
                None if digest == _UNKNOWN else digest,
            )
            continue
        name, _, size = words.partition(" ")
        if not size.isascii() or not size.isdigit() or data[int(size) : int(size) + 1] != b"\n":
            raise OutputsError(
                f"the outputs after {', '.join(told.outputs) or 'the first line'} cannot be read:"
                " outputs must be UTF-8 text"
            )
        told.outputs[name] = data[: int(size)].decode(errors="replace").removesuffix("\n")
        data = data[int(size) + 1 :]
    return told
