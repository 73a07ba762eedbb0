"""Text measured in the cells of a terminal: cut, wrapped, padded, made harmless."""

from __future__ import annotations

import textwrap
import unicodedata
from typing import Final

Segment = tuple[str, str]
"""Text and its style: a phase, "dim", "bold" or nothing."""
Line = list[Segment]

SYMBOLS: Final = {
    "Pending": "○",
    "Queued": "○",
    "Submitting": "◌",
    "Waiting": "◌",
    "Running": "●",
    "Suspended": "‖",
    "Cancelling": "●",
    "Succeeded": "✓",
    "Failed": "✗",
    "Cancelled": "⊘",
    "Skipped": "⊘",
}


def cut(text: str, width: int) -> str:
    """`text`, or its head and an ellipsis, on one line of at most `width` cells."""
    if cells(text) <= width:
        return text
    kept, used = "", 1
    for character in text:
        used += cells(character)
        if used > width:
            break
        kept += character
    return f"{kept}…"


def cut_middle(text: str, width: int) -> str:
    """`text`, or its head and its tail: names of one family differ at their ends."""
    if cells(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def cells(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )


def wrap(text: str, width: int | None, indent: str) -> list[str]:
    """`text` in lines of at most `width` cells that begin with `indent`; its own breaks stay."""
    lines: list[str] = []
    for part in clean(text).splitlines():
        if width is None:
            lines.append(indent + part)
        else:
            room = max(width, len(indent) + 20)
            lines += textwrap.wrap(part, room, initial_indent=indent, subsequent_indent=indent) or [
                ""
            ]
    return lines


def clean(text: str) -> str:
    """Without control characters: what a job prints must not steer the reader's terminal."""
    return "".join(
        each if each in "\n\t" or unicodedata.category(each) != "Cc" else "�" for each in text
    )


def pad(text: str, width: int) -> str:
    """`text` and blanks up to `width` cells."""
    return text + " " * max(0, width - cells(text))
