"""The lines of the table: a tree of the tasks, then those of `finally`; members where wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from runyard.cli import telling, times, tree
from runyard.cli.slots import GONE, TERMINAL, Object, Slot, Task

MAX_MEMBERS: Final = 20
"""Members of one matrix that are shown as rows of their own."""
_ORDER: Final = ("Failed", "Running", "Cancelling", "Submitting", "Waiting", "Queued", "Pending")
_RANK: Final = {phase: at for at, phase in enumerate(_ORDER)}


@dataclass(frozen=True, slots=True)
class Row:
    """One task, or one member of a matrix, as a line of the table."""

    task: str
    mark: str
    executor: str
    phase: str
    reason: str
    age: str
    duration: str
    steady: str = ""
    """The part of the reason that no clock and no count changes."""
    final: bool = False


@dataclass(frozen=True, slots=True)
class Telling:
    """What the rows are made with: the moment, and why tasks wait and were skipped, by name."""

    now: datetime
    waiting: Mapping[str, str]
    skipped: Mapping[str, str]
    members: bool


def rows(known: Mapping[str, Task], say: Telling) -> Iterator[Row]:
    """A row for each task, of a matrix with those of its members if they are wanted."""
    parents = {
        name: [edge["task"] for edge in task.spec.get("after") or []]
        for name, task in known.items()
        if not task.final
    }
    finals = [(name, "") for name, task in known.items() if task.final]
    for name, mark in [*tree.ordered(parents), *finals]:
        task = known[name]
        if not task.matrix:
            yield _row(task, task.slots[0], mark, say)
            continue
        yield _matrix(task, mark, say)
        if say.members:
            below = mark.replace("├─", "│ ").replace("└─", "  ")
            yield from _members(task, f"{below}   ", say)


def _row(task: Task, slot: Slot, mark: str, say: Telling) -> Row:
    status = slot.status
    waiting = say.waiting[task.name] if not slot.made else ""
    reason, steady = telling.of_slot(slot, waiting, say.skipped, say.now)
    ended = slot.phase in TERMINAL or slot.phase == GONE
    finish = times.parse(status.get("completionTime")) or (None if ended else say.now)
    created = slot.unit["metadata"].get("creationTimestamp") if slot.unit is not None else None
    return Row(
        task=slot.name,
        mark=mark,
        executor=_executor((slot.unit or {}).get("spec") or task.spec),
        phase=slot.phase,
        reason=reason,
        age=times.age(times.parse(created), say.now),
        duration=times.duration(times.parse(status.get("startTime")), finish),
        steady=steady,
        final=task.final,
    )


def _matrix(task: Task, mark: str, say: Telling) -> Row:
    reason, steady = telling.of_matrix(task, say.waiting[task.name])
    units = [slot.unit for slot in task.slots if slot.unit is not None]
    created = min((unit["metadata"].get("creationTimestamp") or "" for unit in units), default="")
    return Row(
        task=task.name,
        mark=mark,
        executor=_executor(task.spec),
        phase=task.phase,
        reason=reason,
        age=times.age(times.parse(created), say.now),
        duration="",
        steady=steady,
        final=task.final,
    )


def _members(task: Task, indent: str, say: Telling) -> Iterator[Row]:
    """The members that say most, failed and running ones first, and one row for the others."""
    ranked = sorted(task.slots, key=lambda each: _RANK.get(each.phase, len(_RANK)))
    for slot in ranked[:MAX_MEMBERS]:
        row = _row(task, slot, indent, say)
        member = ((slot.unit or {}).get("spec") or {}).get("member") or {}
        values = " ".join(f"{key}={value}" for key, value in (member.get("values") or {}).items())
        reason = "  ".join(each for each in (row.reason, values) if each)
        yield Row(
            row.task, indent, "", row.phase, reason, row.age, row.duration, row.steady, task.final
        )
    if len(ranked) > MAX_MEMBERS:
        yield Row(f"{len(ranked) - MAX_MEMBERS} more", indent, "", "", "", "", "", "", task.final)


def _executor(work: Object) -> str:
    """The executor's name, with the number of nodes where there are several."""
    for kind, block in (work.get("executor") or {}).items():
        nodes = (block or {}).get("numNodes") or 1
        return f"{kind} x{nodes}" if nodes > 1 else str(kind)
    return ""
