"""The tasks of an experiment and their members, from its spec, its record and the units there are.

The operator makes a unit only when a task may start. Until then, and after a unit has gone, the
record in the experiment's status says how far each member is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Object = Mapping[str, Any]

TERMINAL: Final = frozenset({"Succeeded", "Failed", "Cancelled", "Skipped"})
LABEL_EXPERIMENT: Final = "runyard.dev/experiment"
LABEL_TASK: Final = "runyard.dev/task"
LABEL_MEMBER: Final = "runyard.dev/member"
NOT_MADE: Final = "."
MADE: Final = "+"
GONE: Final = "-"
"""The phase of what never came to be, or was made and cannot be seen any more."""
_ENDS: Final = {"S": "Succeeded", "F": "Failed", "C": "Cancelled", "K": "Skipped"}
_RESULTS: Final = ("Failed", "Cancelled", "Succeeded", "Skipped")
_ACTIVE: Final = ("Running", "Cancelling", "Submitting", "Waiting", "Queued")


@dataclass(frozen=True, slots=True)
class Slot:
    """A plain task, or one member of a matrix, at one moment."""

    task: str
    index: int | None
    phase: str
    made: bool
    """Whether its unit was made, though it may not be among those that were listed."""
    unit: Object | None

    @property
    def name(self) -> str:
        """As the operator writes it: train, or sweep[3]."""
        return self.task if self.index is None else f"{self.task}[{self.index}]"

    @property
    def status(self) -> Object:
        """The unit's status; empty where there is none."""
        return (self.unit or {}).get("status") or {}


@dataclass(frozen=True, slots=True)
class Task:
    """A task with its members in their order; a plain task has one."""

    spec: Object
    final: bool
    slots: tuple[Slot, ...]

    @property
    def name(self) -> str:
        """The task's name."""
        return str(self.spec["name"])

    @property
    def matrix(self) -> bool:
        """Whether it has members."""
        return self.spec.get("matrix") is not None

    @property
    def started(self) -> bool:
        """Whether anything was made for it, or it has ended without."""
        return any(each.made or each.phase in TERMINAL for each in self.slots)

    @property
    def phase(self) -> str:
        """The phase of the whole: that of a plain task, or what a matrix as a whole is doing."""
        if not self.matrix:
            return self.slots[0].phase
        phases = {each.phase for each in self.slots}
        if not phases or phases == {GONE}:
            return GONE if phases else "Pending"
        if not phases <= TERMINAL | {GONE}:
            return next((each for each in _ACTIVE if each in phases), "Pending")
        return next(
            each for each in ("Failed", "Cancelled", "Succeeded", "Skipped") if each in phases
        )


def tasks(experiment: Object, units: Iterable[Object], *, over: bool) -> list[Task]:
    """All tasks, those of `finally` last. `over`: no unit will be made any more."""
    spec = experiment.get("spec") or {}
    records = {
        each["name"]: each["states"] for each in (experiment.get("status") or {}).get("tasks") or []
    }
    by_slot = {slot_of(unit): unit for unit in own_units(experiment, units)}
    members: dict[str, list[int]] = {}
    for name, index in by_slot:
        members.setdefault(name, []).append(-1 if index is None else index)
    found = []
    for final, part in ((False, "tasks"), (True, "finally")):
        for task in spec.get(part) or []:
            name, matrix = task["name"], task.get("matrix") is not None
            size = max(members.get(name, [-1])) + 1 if matrix else 1
            states = records.get(name, "").ljust(size, NOT_MADE)
            indices: Iterable[int | None] = range(len(states)) if matrix else [None]
            slots = tuple(
                _slot(name, index, letter, by_slot.get((name, index)), over)
                for index, letter in zip(indices, states, strict=False)
            )
            found.append(Task(task, final, slots))
    return found


def _slot(task: str, index: int | None, letter: str, unit: Object | None, over: bool) -> Slot:
    if letter in _ENDS:
        phase = _ENDS[letter]  # final, whatever an old list of units says
    elif unit is not None:
        phase = phase_of(unit)
    else:
        phase = GONE if over else "Pending"
    return Slot(task, index, phase, letter != NOT_MADE or unit is not None, unit)


def selectors(experiment: str, *, matrix: bool) -> dict[str, dict[str, str]]:
    """How to ask for the units that a table needs: those of plain tasks, then of members.

    What became of thousands of members that have ended is in the experiment's record.
    """
    own = f"{LABEL_EXPERIMENT}={experiment}"
    if not matrix:
        return {"units": {"labelSelector": own}}
    ended = ("Succeeded", "Cancelled", "Skipped")
    return {
        "units": {"labelSelector": f"{own},!{LABEL_MEMBER}"},
        "members": {
            "labelSelector": f"{own},{LABEL_MEMBER}",
            "fieldSelector": ",".join(f"status.phase!={phase}" for phase in ended),
        },
    }


def own_units(experiment: Object, units: Iterable[Object]) -> Iterator[Object]:
    """The units of this very experiment, not of a deleted one that had its name."""
    uid = experiment["metadata"].get("uid")
    for unit in units:
        owners = [
            each.get("uid")
            for each in unit["metadata"].get("ownerReferences") or []
            if each.get("kind") == "Experiment"
        ]
        if not owners or uid is None or uid in owners:
            yield unit


def task_of(unit: Object) -> str:
    """The name of the task that the unit was made for; empty when it stands alone."""
    labels = unit["metadata"].get("labels") or {}
    return (unit.get("spec") or {}).get("task") or labels.get(LABEL_TASK) or ""


def slot_of(unit: Object) -> tuple[str, int | None]:
    """The task and, of a matrix, the member that the unit was made for."""
    member = (unit.get("spec") or {}).get("member")
    return task_of(unit), None if member is None else int(member.get("index") or 0)


def phase_of(unit: Object | None) -> str:
    """The phase of a unit; one that the operator has not seen yet is Pending."""
    return ((unit or {}).get("status") or {}).get("phase") or "Pending"
