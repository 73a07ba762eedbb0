"""What `status` says, computed from the objects alone: (experiment, units, now) -> View."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from runyard.cli import problems, telling, times
from runyard.cli.problems import Problem
from runyard.cli.rows import Row, Telling, rows
from runyard.cli.slots import (
    LABEL_EXPERIMENT,
    LABEL_MEMBER,
    LABEL_TASK,
    TERMINAL,
    Object,
    Slot,
    own_units,
    phase_of,
    selectors,
    task_of,
    tasks,
)

__all__ = [
    "LABEL_EXPERIMENT",
    "LABEL_MEMBER",
    "LABEL_TASK",
    "TERMINAL",
    "Problem",
    "Row",
    "View",
    "build",
    "own_units",
    "phase_of",
    "selectors",
    "summaries",
    "task_of",
]


@dataclass(frozen=True, slots=True)
class View:
    """An experiment and its tasks at one moment."""

    name: str
    namespace: str
    phase: str
    reason: str
    message: str
    progress: str
    elapsed: str
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]
    outputs: tuple[tuple[str, str], ...]
    deleting: bool = False
    approvals: tuple[tuple[str, str], ...] = ()
    """Tasks that wait for somebody to approve them, each with what to look at."""
    skipped: tuple[tuple[str, str, str], ...] = ()
    """What was skipped: task, reason, message."""

    @property
    def ended(self) -> bool:
        """Whether the experiment is over for good."""
        return self.phase in TERMINAL


def build(
    experiment: Object, units: Iterable[Object], now: datetime, *, members: bool = False
) -> View:
    """The view of an experiment at `now`; with `members`, those of matrices get rows."""
    status = experiment.get("status") or {}
    phase = status.get("phase") or "Pending"
    ended = phase in TERMINAL
    deleting = "deletionTimestamp" in experiment["metadata"]
    known = {each.name: each for each in tasks(experiment, units, over=ended or deleting)}
    slots = [slot for task in known.values() for slot in task.slots]
    skips = problems.skipped(slots, status.get("skippedTasks") or [])
    finish = times.parse(status.get("completionTime")) or (None if ended else now)
    reasons = {name: reason for name, (reason, _) in skips.items()}
    waiting = (
        dict.fromkeys(known, "") if ended or deleting else telling.of_waiting(experiment, known)
    )
    return View(
        name=experiment["metadata"]["name"],
        namespace=experiment["metadata"].get("namespace") or "",
        phase=phase,
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        progress=status.get("progress") or _progress(slots),
        elapsed=times.duration(times.parse(status.get("startTime")), finish),
        rows=tuple(rows(known, Telling(now, waiting, reasons, members))),
        problems=tuple(problems.found(slots, status.get("failedTasks") or [])),
        outputs=tuple(
            (f"{slot.name}.{output['name']}", output["value"])
            for slot in slots
            for output in slot.status.get("outputs") or []
        ),
        deleting=deleting,
        approvals=tuple(
            (name, task.spec["approval"].get("message") or "")
            for name, task in known.items()
            if waiting[name].endswith(telling.APPROVAL)
        ),
        skipped=tuple((name, reason, said) for name, (reason, said) in skips.items()),
    )


def summaries(experiments: Sequence[Object], now: datetime) -> list[list[str]]:
    """Rows of the list of experiments: namespace, name, phase, done, reason, age, duration."""
    found = []
    for each in experiments:
        status = each.get("status") or {}
        phase = status.get("phase") or "Pending"
        finish = times.parse(status.get("completionTime")) or (None if phase in TERMINAL else now)
        reason = telling.telling(phase, status.get("reason") or "")
        progress = status.get("progress")
        if progress is None:
            progress = _progress([s for t in tasks(each, [], over=False) for s in t.slots])
        found.append(
            [
                each["metadata"].get("namespace") or "",
                each["metadata"]["name"],
                phase,
                progress,
                "being deleted" if "deletionTimestamp" in each["metadata"] else reason,
                times.age(times.parse(each["metadata"].get("creationTimestamp")), now),
                times.duration(times.parse(status.get("startTime")), finish),
            ]
        )
    return found


def _progress(slots: Sequence[Slot]) -> str:
    return f"{sum(each.phase in TERMINAL for each in slots)}/{len(slots)}"
