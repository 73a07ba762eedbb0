"""Lays a View out as lines of styled text for a given width. Pure; knows no terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from runyard.cli import sections
from runyard.cli.cells import SYMBOLS, Line, Segment, cells, cut, cut_middle, pad, wrap
from runyard.cli.rows import Row
from runyard.cli.view import View

_HEAD: Final = ("TASK", "EXECUTOR", "PHASE", "REASON", "AGE", "DURATION")
_LEAST: Final = (16, 8, 8, 12, 4, 8)
_TASK, _REASON = 0, 3
_GAP: Final = 2


def experiment(view: View, width: int | None = None, height: int | None = None) -> list[Line]:
    """The whole picture. Without `width` nothing is cut; with `height` quiet rows make room."""
    below = sections.below(view, width)
    above = _title(view, width)
    rows = list(view.rows)
    hidden: list[Row] = []
    if height is not None:
        finals = any(row.final for row in rows)
        room = max(height - len(above) - len(below) - 2 - finals, 3)
        rows, hidden = _fit(rows, room)
    drawn = table(_HEAD, [_cells(row) for row in rows], width)
    first = next((at for at, row in enumerate(rows) if row.final), None)
    if first is not None:
        drawn.insert(first + 1, [("finally", "dim")])
    lines = above + drawn
    if hidden:
        lines.append([(_hidden(hidden), "dim")])
    return lines + below


def plain(lines: Sequence[Line]) -> str:
    """The text alone, each line ended by a line feed."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)


def phase_cell(phase: str) -> Segment:
    """A phase with its symbol, in its own style."""
    symbol = SYMBOLS.get(phase)
    return (f"{symbol} {phase}" if symbol else phase, phase)


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[Segment]],
    width: int | None,
    least: Sequence[int] = _LEAST,
    shrink: Sequence[int] = (_REASON, _TASK),
) -> list[Line]:
    """Columns as wide as their content; those of `shrink` give way, in turn, to fit `width`."""
    full = [
        max(len(title), *(cells(row[column][0]) for row in rows), 0)
        for column, title in enumerate(head)
    ]
    # The last column of a line needs no room of its own when it is empty.
    wide = list(full)
    if width is not None:
        for column in shrink:
            over = sum(wide) + _GAP * (len(wide) - 1) - width
            if over > 0:
                wide[column] = max(wide[column] - over, min(least[column], wide[column]))
    lines: list[Line] = [[(_join(head, wide), "bold")]]
    for row in rows:
        line: Line = []
        for column, (text, style) in enumerate(row):
            short = (cut_middle if column == _TASK else cut)(text, wide[column])
            line.append((pad(short, wide[column]), style))
            if column < len(row) - 1:
                line.append((" " * _GAP, ""))
        lines.append(line)
    return lines


def _title(view: View, width: int | None) -> list[Line]:
    line: Line = [(view.name, "bold"), ("  ", ""), phase_cell(view.phase)]
    facts = ["being deleted"] if view.deleting else []
    facts.append(f"{view.progress} done")
    if view.elapsed:
        facts.append(view.elapsed)
    if view.namespace:
        facts.append(f"namespace {view.namespace}")
    line.append(("  " + "  ".join(facts), "dim"))
    if width is not None and cells("".join(text for text, _ in line)) > width:
        line = [(cut(view.name, max(width - 16, 16)), "bold"), ("  ", ""), phase_cell(view.phase)]
        lines = [line, [(cut("  ".join(facts), width), "dim")]]
    else:
        lines = [line]
    if view.message and (view.phase != "Succeeded" or view.reason == "Planned"):
        lines += [[(each, "")] for each in wrap(view.message, width, "")]
    return [*lines, []]


def _cells(row: Row) -> list[Segment]:
    return [
        (row.mark + row.task, ""),
        (row.executor, "dim"),
        phase_cell(row.phase),
        (row.reason, ""),
        (row.age, "dim"),
        (row.duration, ""),
    ]


def _fit(rows: list[Row], room: int) -> tuple[list[Row], list[Row]]:
    """The rows to show in `room` lines, and those left out: the quiet ones go first."""
    if len(rows) <= room:
        return rows, []
    quiet = ("", "Succeeded", "Skipped", "Cancelled", "-", "Pending", "Queued", "Failed")

    def how_telling(at: int) -> tuple[int, int]:
        phase = rows[at].phase
        # Of those to come the next ones stay, of those that were the last ones.
        nearness = -at if phase in ("Pending", "Queued") else at
        return (quiet.index(phase) if phase in quiet else len(quiet), nearness)

    order = sorted(range(len(rows)), key=how_telling)
    left_out = set(order[: len(rows) - room + 1])
    shown = [replace(row, mark="") for at, row in enumerate(rows) if at not in left_out]
    return shown, [rows[at] for at in sorted(left_out)]


def _hidden(rows: Sequence[Row]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        if row.phase:
            counts[row.phase] = counts.get(row.phase, 0) + 1
    said = ", ".join(f"{count} {phase}" for phase, count in counts.items())
    return f"… not shown: {said}"


def _join(texts: Sequence[str], wide: Sequence[int]) -> str:
    return (" " * _GAP).join(pad(text, room) for text, room in zip(texts, wide, strict=True))
