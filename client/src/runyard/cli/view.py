"""What `status` says, computed from the objects alone: (experiment, units, now) -> View."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from runyard.cli import times, tree

Object = Mapping[str, Any]

TERMINAL: Final = frozenset({"Succeeded", "Failed", "Cancelled", "Skipped"})
LABEL_EXPERIMENT: Final = "runyard.dev/experiment"
LABEL_TASK: Final = "runyard.dev/task"


@dataclass(frozen=True, slots=True)
class Row:
    """One task as a line of the table."""

    task: str
    mark: str
    executor: str
    phase: str
    reason: str
    age: str
    duration: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A task that failed or is stuck, with what is known about it."""

    task: str
    phase: str
    reason: str
    message: str
    exit_code: int | None = None
    node: str = ""
    log_lines: tuple[str, ...] = ()


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

    @property
    def ended(self) -> bool:
        """Whether the experiment is over for good."""
        return self.phase in TERMINAL


def build(experiment: Object, units: Iterable[Object], now: datetime) -> View:
    """The view of an experiment at `now`; tasks without a unit yet are Pending."""
    spec = experiment.get("spec") or {}
    status = experiment.get("status") or {}
    tasks = {task["name"]: task for task in spec.get("tasks") or []}
    by_task = {task_of(unit): unit for unit in own_units(experiment, units)}
    ended = (status.get("phase") or "Pending") in TERMINAL
    deleting = "deletionTimestamp" in experiment["metadata"]
    parents = {
        name: [edge["task"] for edge in task.get("after") or []] for name, task in tasks.items()
    }
    rows = tuple(
        _row(
            mark,
            tasks[name],
            by_task.get(name),
            _open(parents[name], by_task),
            ended or deleting,
            now,
        )
        for name, mark in tree.ordered(parents)
    )
    finish = times.parse(status.get("completionTime")) or (None if ended else now)
    return View(
        name=experiment["metadata"]["name"],
        namespace=experiment["metadata"].get("namespace") or "",
        phase=status.get("phase") or "Pending",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        progress=status.get("progress") or _progress(rows),
        elapsed=times.duration(times.parse(status.get("startTime")), finish),
        rows=rows,
        problems=tuple(
            _problems(row.task, by_task.get(row.task))
            for row in rows
            if _is_problem(by_task.get(row.task))
        ),
        outputs=tuple(
            (f"{row.task}.{output['name']}", output["value"])
            for row in rows
            for output in _status(by_task.get(row.task)).get("outputs") or []
        ),
        deleting=deleting,
    )


def own_units(experiment: Object, units: Iterable[Object]) -> list[Object]:
    """The units of this very experiment, not of a deleted one that had its name."""
    uid = experiment["metadata"].get("uid")

    def own(unit: Object) -> bool:
        owners = [
            each.get("uid")
            for each in unit["metadata"].get("ownerReferences") or []
            if each.get("kind") == "Experiment"
        ]
        return not owners or uid is None or uid in owners

    return [unit for unit in units if own(unit)]


def task_of(unit: Object) -> str:
    """The name of the task that the unit was made for; empty when it stands alone."""
    labels = unit["metadata"].get("labels") or {}
    return (unit.get("spec") or {}).get("task") or labels.get(LABEL_TASK) or ""


def phase_of(unit: Object | None) -> str:
    """The phase of a unit; one that the operator has not seen yet is Pending."""
    return _status(unit).get("phase") or "Pending"


def summaries(experiments: Sequence[Object], now: datetime) -> list[list[str]]:
    """Rows of the list of experiments: namespace, name, phase, done, reason, age, duration."""
    rows = []
    for each in experiments:
        view = build(each, [], now)
        created = times.parse(each["metadata"].get("creationTimestamp"))
        rows.append(
            [
                view.namespace,
                view.name,
                view.phase,
                view.progress,
                "being deleted" if view.deleting else _telling(view.phase, view.reason),
                times.age(created, now),
                view.elapsed,
            ]
        )
    return rows


def _status(unit: Object | None) -> Mapping[str, Any]:
    return (unit.get("status") if unit is not None else None) or {}


def _open(parents: Sequence[str], by_task: Mapping[str, Object]) -> list[str]:
    """The parents that have not ended."""
    return [name for name in parents if phase_of(by_task.get(name)) not in TERMINAL]


def _row(
    mark: str,
    task: Object,
    unit: Object | None,
    waiting_for: Sequence[str],
    no_more_units: bool,
    now: datetime,
) -> Row:
    status = _status(unit)
    phase = phase_of(unit)
    if unit is None and no_more_units:
        phase = "-"  # it has gone, or never came to be and never will
    attempts = status.get("attempts") or []
    reason = _telling(phase, status.get("reason") or "")
    if phase == "Pending" and waiting_for:
        reason = f"after {', '.join(waiting_for)}"
    elif len(attempts) > 1:
        reason = f"{reason}, try {len(attempts)}" if reason else f"try {len(attempts)}"
    finish = times.parse(status.get("completionTime")) or (None if phase in TERMINAL else now)
    created = unit["metadata"].get("creationTimestamp") if unit is not None else None
    return Row(
        task=task["name"],
        mark=mark,
        executor=_executor((unit or {}).get("spec") or task),
        phase=phase,
        reason=reason,
        age=times.age(times.parse(created), now),
        duration=times.duration(times.parse(status.get("startTime")), finish),
    )


def _telling(phase: str, reason: str) -> str:
    """The reason, unless it only repeats the phase."""
    return "" if reason == phase else reason


def _executor(work: Object) -> str:
    """The executor's name, with the number of nodes where there are several."""
    for kind, block in (work.get("executor") or {}).items():
        nodes = (block or {}).get("numNodes") or 1
        return f"{kind} x{nodes}" if nodes > 1 else str(kind)
    return ""


def _progress(rows: Sequence[Row]) -> str:
    return f"{sum(row.phase in TERMINAL for row in rows)}/{len(rows)}"


def _is_problem(unit: Object | None) -> bool:
    status = _status(unit)
    return status.get("phase") == "Failed" or _trouble(status) is not None


def _trouble(status: Object) -> Object | None:
    """The condition that keeps a unit which has not ended from going on."""
    if status.get("phase") in TERMINAL:
        return None
    for condition in status.get("conditions") or []:
        if (condition["type"], condition["status"]) in (
            ("Stalled", "True"),
            ("BackendReachable", "False"),
        ):
            return dict(condition)
    return None


def _problems(task: str, unit: Object | None) -> Problem:
    status = _status(unit)
    trouble = _trouble(status) or status
    attempt = (status.get("attempts") or [{}])[-1]
    return Problem(
        task=task,
        phase=phase_of(unit),
        reason=trouble.get("reason") or "",
        message=trouble.get("message") or attempt.get("message") or "",
        exit_code=attempt.get("exitCode"),
        node=attempt.get("node") or "",
        log_lines=tuple(attempt.get("lastLogLines") or ()),
    )
