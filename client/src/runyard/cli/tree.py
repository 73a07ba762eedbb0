"""Draws a DAG as an indented tree: each task once, beneath the last of the tasks it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

MAX_DEPTH: Final = 6
"""Deeper trees would leave no room for names at 80 columns."""


def ordered(parents: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """The tasks from first to last, each with the mark to draw before its name.

    `parents` gives the tasks each one waits for, in the order of the spec. Unknown parents and
    cycles, which the operator refuses, do no harm: every task comes out exactly once.
    """
    home = _homes(parents)
    children: dict[str | None, list[str]] = {}
    for name, parent in home.items():
        children.setdefault(parent, []).append(name)
    shallow = _depth(home) <= MAX_DEPTH
    drawn: list[tuple[str, str]] = []
    # An explicit stack: 128 tasks in a chain are no reason to recurse.
    stack = [(name, "", "") for name in reversed(children.get(None, []))]
    while stack:
        name, mark, indent = stack.pop()
        drawn.append((name, mark))
        below = children.get(name, [])
        if len(below) == 1 and not shallow:
            # A chain goes straight down instead of to the right.
            stack.append((below[0], f"{indent}↓ ", indent))
            continue
        last_first = list(reversed(below))
        for child in last_first:
            is_last = child == last_first[0]
            room = len(indent) < 3 * MAX_DEPTH
            branch = "└─ " if is_last else "├─ "
            inner = indent + ("   " if is_last else "│  ") if room else indent
            stack.append((child, indent + branch if room else f"{indent}┄ ", inner))
    return drawn


def _homes(parents: Mapping[str, Sequence[str]]) -> dict[str, str | None]:
    """The one parent that each task is drawn beneath: the deepest, of equals the last named."""
    level: dict[str, int] = {}
    pending = dict(parents)
    while pending:
        ready = [
            name for name, after in pending.items() if not any(each in pending for each in after)
        ]
        # A cycle has no beginning: what is left is drawn flat.
        for name in ready or list(pending):
            known = [level[each] for each in parents[name] if each in level]
            level[name] = 1 + max(known, default=-1)
        for name in ready or list(pending):
            del pending[name]
    home: dict[str, str | None] = {}
    for name, after in parents.items():
        above = [each for each in after if each in level and level[each] < level[name]]
        home[name] = max(reversed(above), key=lambda each: level[each], default=None)
    return home


def _depth(home: Mapping[str, str | None]) -> int:
    depth: dict[str | None, int] = {None: -1}
    waiting = list(home)
    while waiting:
        later = []
        for name in waiting:
            if home[name] in depth:
                depth[name] = depth[home[name]] + 1
            else:
                later.append(name)
        waiting = later
    return max(depth.values())
