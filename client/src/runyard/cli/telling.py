"""Says in a few words why a task is where it is: what it waits for, how it is tried again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from runyard.cli import times
from runyard.cli.cells import SYMBOLS
from runyard.cli.slots import GONE, TERMINAL, Object, Slot, Task

APPROVAL: Final = "waits for approval"
_ORDER: Final = ("Failed", "Running", "Waiting", "Pending", "Succeeded", "Skipped")
"""Phases with different symbols, those that say most first."""


def telling(phase: str, reason: str) -> str:
    """The reason, unless it only repeats the phase."""
    return "" if reason == phase else reason


def of_slot(slot: Slot, waiting: str, skipped: Mapping[str, str], now: datetime) -> tuple[str, str]:
    """The reason of a slot in words, and the part of it that no clock changes."""
    status = slot.status
    reason = telling(slot.phase, status.get("reason") or "")
    if slot.phase == "Pending":
        said = waiting or reason
        return said, said
    if slot.phase == "Skipped" and not reason:
        reason = skipped.get(slot.name, "")
    adopted = ((slot.unit or {}).get("spec") or {}).get("adopted")
    if adopted:
        said = f"adopted from {adopted.get('experiment')}"
        return said, said
    attempts = status.get("attempts") or []
    last: Object = attempts[-1] if attempts else {}
    number = last.get("number") or len(attempts)
    due = times.parse(status.get("nextAttemptTime"))
    if due is not None and slot.phase not in TERMINAL:
        cause = last.get("failureClass") or last.get("reason") or reason
        steady = f"attempt {number + 1} next: {cause}"
        left = int((due - now).total_seconds())
        when = f"next in {times.duration(now, due)}" if left > 0 else "is due"
        return f"attempt {number + 1}, {when}: {cause}", steady
    if number > 1:
        said = f"{reason}, attempt {number}" if reason else f"attempt {number}"
        return said, said
    return reason, reason


def of_matrix(task: Task, waiting: str) -> tuple[str, str]:
    """How many members have ended and are where, and the part that is worth a line of its own."""
    if not task.slots:
        return waiting or "matrix", waiting
    done = sum(each.phase in TERMINAL for each in task.slots)
    progress = f"{done}/{len(task.slots)}"
    if waiting and not task.started:
        return f"{progress}, {waiting}", waiting
    marks = Counter(SYMBOLS.get("Waiting" if _unseen(s) else s.phase, GONE) for s in task.slots)
    order = list(dict.fromkeys(SYMBOLS[phase] for phase in _ORDER))
    shown = [f"{marks[each]}{each}" for each in order if marks[each]]
    failed = marks[SYMBOLS["Failed"]]
    return "  ".join([progress, " ".join(shown)]), f"{failed} failed" if failed else ""


def _unseen(slot: Slot) -> bool:
    """Whether its unit was made, and is not among those that were listed."""
    return slot.made and slot.unit is None and slot.phase not in TERMINAL


def of_waiting(experiment: Object, known: Mapping[str, Task]) -> dict[str, str]:
    """What each task waits for that has not started; empty where nothing is known of it."""
    spec = experiment.get("spec") or {}
    all_ended = all(each.phase in TERMINAL | {GONE} for each in known.values() if not each.final)
    full = _full(spec, known.values())
    suspended = spec.get("suspendTasks") or []
    found = {}
    for name, task in known.items():
        held = bool(spec.get("suspend")) or name in suspended
        parts = ["suspended"] if held else []
        edges = _edges(task, known)
        if task.final:
            parts += [] if all_ended else ["after all tasks"]
        elif edges:
            parts.append(edges)
        elif task.spec.get("approval") is not None and verdict(spec, name) is None:
            parts.append(APPROVAL)
        elif full and not held:
            parts.append(f"maxParallel {spec['maxParallel']}")
        found[name] = "" if task.started else ", ".join(parts)
    return found


def _edges(task: Task, known: Mapping[str, Task]) -> str:
    """The parents that have not ended, if the task waits for them."""
    names = [edge["task"] for edge in task.spec.get("after") or []]
    open_ones = [each for each in names if each in known and known[each].phase not in TERMINAL]
    if not open_ones:
        return ""
    among = "any of " if task.spec.get("afterPolicy") == "Any" and len(open_ones) > 1 else ""
    return f"after {among}{', '.join(open_ones)}"


def verdict(spec: Object, task: str) -> str | None:
    """What an approver has said of a task: Approve, Reject, or None."""
    for each in spec.get("approvals") or []:
        if each["task"] == task:
            return str(each.get("verdict") or "Approve")
    return None


def _full(spec: Object, tasks: Iterable[Task]) -> bool:
    """Whether as many units are on their way as may be."""
    most = spec.get("maxParallel")
    if most is None:
        return False
    active = sum(slot.made and slot.phase not in TERMINAL for task in tasks for slot in task.slots)
    return bool(active >= most)
