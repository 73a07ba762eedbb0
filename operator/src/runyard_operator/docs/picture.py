"""Draws the life of a unit: phases on the way in a row, the ends as lanes below it.

Where a box stands is laid out here by hand; every line is a transition that was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Final

from runyard.api.unit import UnitPhase
from runyard_operator.docs.transitions import BIRTH, Transition

_WIDTH: Final = 124
_HEIGHT: Final = 36
_TOP: Final = 110
"""The middle of the row of phases on the way."""
_ROW: Final = (
    BIRTH,
    UnitPhase.PENDING,
    UnitPhase.QUEUED,
    UnitPhase.SUBMITTING,
    UnitPhase.WAITING,
    UnitPhase.RUNNING,
    UnitPhase.CANCELLING,
)
"""The phases from which others are reached, from left to right."""
_COLUMN: Final = 170
_BACK: Final = 168
"""The first of the lines that lead back to a phase on the left."""
_LANES: Final = {
    UnitPhase.CANCELLING: 250,
    UnitPhase.SUCCEEDED: 330,
    UnitPhase.FAILED: 390,
    UnitPhase.CANCELLED: 450,
    UnitPhase.SKIPPED: 510,
}
_MARGIN: Final = 40

_STYLE: Final = """\
text { font: 600 14px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328;
  text-anchor: middle; dominant-baseline: central; }
.line { fill: none; stroke: #59636e; stroke-width: 1.6; }
.head { fill: #59636e; }
.box { fill: #ddf4ff; stroke: #0969da; stroke-width: 1.6; }
.Cancelling { fill: #fff8c5; stroke: #9a6700; }
.Succeeded { fill: #dafbe1; stroke: #1a7f37; }
.Failed { fill: #ffebe9; stroke: #cf222e; }
.Cancelled, .Skipped { fill: #f6f8fa; stroke: #59636e; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .line { stroke: #9198a1; }
  .head { fill: #9198a1; }
  .box { fill: #0c2d6b; stroke: #4493f8; }
  .Cancelling { fill: #3d2c00; stroke: #d29922; }
  .Succeeded { fill: #0f3d1e; stroke: #3fb950; }
  .Failed { fill: #4c1418; stroke: #f85149; }
  .Cancelled, .Skipped { fill: #21262d; stroke: #9198a1; }
}
"""


Edge = tuple[str, str]


def svg(transitions: Iterable[Transition]) -> str:
    """The picture of these transitions.

    Raises:
        KeyError: a transition leads from or to a phase that has no place here.
    """
    edges = list(dict.fromkeys((each.before, each.after) for each in transitions))
    used = {phase for edge in edges for phase in edge}
    lanes = {str(phase): y for phase, y in _LANES.items() if phase in used}
    row = [str(phase) for phase in _ROW if phase in used]
    columns = {phase: _MARGIN + _COLUMN * place for place, phase in enumerate(row)}
    end = _MARGIN + _COLUMN * len(row) - _WIDTH // 2
    parts: list[str] = []
    within = [edge for edge in edges if edge[1] not in lanes]
    parts += _forth([(b, a) for b, a in within if columns[b] < columns[a]], columns)
    parts += _back([(b, a) for b, a in within if columns[b] > columns[a]], columns, lanes)
    for phase, y in lanes.items():
        tip = (columns[phase] - _WIDTH // 2 if phase in columns else end) - 2
        parts += _lane([columns[before] for before, after in edges if after == phase], tip, y)
    for phase, x in columns.items():
        if reached := [
            lanes[after] for before, after in edges if before == phase and after in lanes
        ]:
            parts.append(f'<path class="line" d="M{x} {lanes.get(phase, _TOP)}V{max(reached)}"/>')
    parts += [_box(phase, x, lanes.get(phase, _TOP)) for phase, x in columns.items() if phase]
    parts += [_box(phase, end + _WIDTH // 2, y) for phase, y in lanes.items() if phase not in row]
    parts.append(f'<circle class="head" cx="{columns[BIRTH]}" cy="{_TOP}" r="9"/>')
    width, height = end + _WIDTH + _MARGIN // 2, max(lanes.values()) + _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            "<title>The phases of an ExecutionUnit</title>",
            f"<style>\n{_STYLE}</style>",
            *parts,
            "</svg>\n",
        ]
    )


def _box(phase: str, x: int, y: int) -> str:
    left, top = x - _WIDTH // 2, y - _HEIGHT // 2
    return (
        f'<rect class="box {phase}" x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}"'
        f' rx="8"/><text x="{x}" y="{y}">{escape(phase)}</text>'
    )


def _head(x: int, y: int, along: tuple[int, int]) -> str:
    """An arrow's head with its tip at a point."""
    a, b = along
    left, right = (x - 9 * a - 5 * b, y - 9 * b + 5 * a), (x - 9 * a + 5 * b, y - 9 * b - 5 * a)
    return f'<path class="head" d="M{x} {y}L{left[0]} {left[1]}L{right[0]} {right[1]}Z"/>'


def _dots(places: Iterable[int], y: int) -> Iterator[str]:
    return (f'<circle class="head" cx="{x}" cy="{y}" r="4"/>' for x in places)


def _lane(sources: Iterable[int], tip: int, y: int) -> Iterator[str]:
    """A line to the box of a phase, with a dot for each phase that leads to it."""
    sources = sorted(sources)
    yield f'<path class="line" d="M{sources[0]} {y}H{tip - 8}"/>{_head(tip, y, (1, 0))}'
    yield from _dots(sources, y)


def _forth(edges: Iterable[Edge], columns: Mapping[str, int]) -> Iterator[str]:
    """Arrows to the right within the row: straight to the next phase, arcs over it to others."""
    for before, after in edges:
        start, end = columns[before], columns[after]
        if end - start == _COLUMN:
            tip = end - _WIDTH // 2 - 2
            yield f'<path class="line" d="M{start} {_TOP}H{tip - 8}"/>{_head(tip, _TOP, (1, 0))}'
            continue
        spread, edge = 12 * ((end - start) // _COLUMN), _TOP - _HEIGHT // 2
        # The birth is a mere dot: an arc begins in its middle.
        start, foot = (start, _TOP) if before == BIRTH else (start + spread, edge)
        end, peak = end - spread, edge - (columns[after] - columns[before] - 2 * spread) // 4
        yield (
            f'<path class="line" d="M{start} {foot}C{start} {peak} {end} {peak} {end} {edge - 8}"/>'
            f"{_head(end, edge - 2, (0, 1))}"
        )


def _back(
    edges: Sequence[Edge], columns: Mapping[str, int], lanes: Mapping[str, int]
) -> Iterator[str]:
    """Lines below the row that lead left, and up into a phase; one for each such phase."""
    targets = sorted({after for _, after in edges}, key=lambda phase: -columns[phase])
    for place, target in enumerate(targets):
        y, x, bottom = _BACK + 26 * place, columns[target] - 30, _TOP + _HEIGHT // 2
        sources = [before for before, after in edges if after == target]
        far = max(columns[each] for each in sources)
        yield f'<path class="line" d="M{far} {y}H{x}V{bottom + 8}"/>{_head(x, bottom + 2, (0, -1))}'
        yield from _dots([columns[each] for each in sources], y)
        for each in sources:
            if each in lanes:
                yield f'<path class="line" d="M{columns[each]} {lanes[each]}V{y}"/>'
