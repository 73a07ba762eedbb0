"""Colours of the phases: ANSI codes for one-shot output, Rich for what is drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from runyard.cli.cells import Line
from runyard.cli.layout import plain

if TYPE_CHECKING:
    from rich.text import Text

STYLES: Final = {
    "bold": "bold",
    "dim": "dim",
    "Pending": "dim",
    "Queued": "cyan",
    "Submitting": "cyan",
    "Waiting": "yellow",
    "Running": "bold blue",
    "Suspended": "yellow",
    "Cancelling": "magenta",
    "Succeeded": "green",
    "Failed": "bold red",
    "Cancelled": "magenta",
    "Skipped": "dim",
}
_CODES: Final = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


def ansi(text: str, style: str) -> str:
    """The text between the codes of a style such as "bold red"."""
    codes = ";".join(_CODES[word] for word in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m" if codes else text


def text(lines: Sequence[Line], *, colour: bool) -> str:
    """The lines as text, with ANSI codes if `colour`. Needs no Rich, which takes time to load."""
    if not colour:
        return plain(lines)
    return "".join(
        "".join(ansi(part, STYLES.get(style, "")) for part, style in line) + "\n" for line in lines
    )


def rich_text(lines: Sequence[Line]) -> Text:
    """The lines as one Rich renderable that neither wraps nor interprets them."""
    from rich.text import Text

    whole = Text(no_wrap=True, overflow="crop")
    for number, line in enumerate(lines):
        if number:
            whole.append("\n")
        for part, style in line:
            whole.append(part, STYLES.get(style, ""))
    return whole
