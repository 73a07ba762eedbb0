"""The slots of an experiment: one for each plain task, one for each member of a matrix.

A slot is what an ExecutionUnit will be made for. The layout of all slots follows from the spec
alone, so that an index in the status means the same for ever.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

from runyard.api.constants import MAX_MEMBERS
from runyard.api.experiment import ExperimentSpec
from runyard.api.matrix import Matrix
from runyard.api.task import Task
from runyard_operator.engine import graph, naming, reasons
from runyard_operator.engine.check import InvalidSpecError

Values = Mapping[str, str]


class Slot(NamedTuple):
    """A task, or one member of its matrix."""

    task: str
    member: int | None = None

    def __str__(self) -> str:
        return self.task if self.member is None else f"{self.task}[{self.member}]"


@dataclass(frozen=True, slots=True)
class TaskSlots:
    """A task and the values of its members; a plain task has one slot and no values."""

    task: Task
    members: tuple[Values, ...] | None
    final: bool
    slots: tuple[Slot, ...]
    """The slots of the task in their order."""

    @classmethod
    def of(cls, task: Task, members: tuple[Values, ...] | None, *, final: bool) -> Self:
        """The slots of a task whose members have these values."""
        name = task.name
        numbers = [None] if members is None else range(len(members))
        return cls(task, members, final, tuple(Slot(name, number) for number in numbers))

    @property
    def size(self) -> int:
        """Number of slots."""
        return len(self.slots)

    def values(self, index: int | None) -> Values:
        """What `${matrix.NAME}` stands for in a slot."""
        return {} if self.members is None or index is None else self.members[index]


@dataclass(frozen=True, slots=True)
class Layout:
    """All tasks with their slots, parents first; those of `finally` come last."""

    tasks: Mapping[str, TaskSlots]

    @property
    def main(self) -> Iterator[TaskSlots]:
        """The tasks of the graph."""
        return (each for each in self.tasks.values() if not each.final)

    @property
    def finals(self) -> Iterator[TaskSlots]:
        """The tasks that run when all the others have ended."""
        return (each for each in self.tasks.values() if each.final)

    @property
    def size(self) -> int:
        """Number of slots."""
        return sum(each.size for each in self.tasks.values())


def layout(experiment: str, spec: ExperimentSpec) -> Layout:
    """The slots of an experiment of that name.

    Raises:
        InvalidSpecError: a cycle, an unknown parent, a name twice, a matrix that is empty, too
            large or has members without a value.
    """
    ordered = graph.in_order(spec.tasks)
    tasks: dict[str, TaskSlots] = {}
    for task, final in [*((each, False) for each in ordered), *((t, True) for t in spec.finally_)]:
        if task.name in tasks:
            raise InvalidSpecError(
                reasons.INVALID_SPEC,
                f"finally[{task.name}] has the name of another task: give it one of its own",
            )
        if final and task.after:
            raise InvalidSpecError(
                reasons.INVALID_GRAPH,
                f"finally[{task.name}].after: tasks of 'finally' start together once all others"
                " have ended: remove 'after'",
            )
        where = f"{'finally' if final else 'tasks'}[{task.name}].matrix"
        members = _members(where, task.matrix) if task.matrix else None
        tasks[task.name] = TaskSlots.of(task, members, final=final)
    found = Layout(tasks)
    if found.size > MAX_MEMBERS:
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            f"the experiment has {found.size} tasks and matrix members together, more than the"
            f" {MAX_MEMBERS} that fit: split it",
        )
    _check_names(experiment, found)
    return found


def _members(where: str, matrix: Matrix) -> tuple[Values, ...]:
    size = 1
    for parameter, values in matrix.parameters.items():
        if not values:
            raise InvalidSpecError(
                reasons.INVALID_SPEC, f"{where}.parameters.{parameter} has no value: add one"
            )
        size *= len(values)
    if size > MAX_MEMBERS:
        raise InvalidSpecError(
            reasons.INVALID_SPEC,
            f"{where} has {size} combinations, more than the {MAX_MEMBERS} that fit: split it",
        )
    # By name, for the API server does not keep the order in which a user wrote them.
    names = sorted(matrix.parameters)
    for index, each in enumerate(matrix.exclude):
        if unknown := sorted(set(each) - set(names)):
            raise InvalidSpecError(
                reasons.INVALID_SPEC,
                f"{where}.exclude[{index}] names {unknown[0]!r}, which is not one of its"
                " parameters: correct the name",
            )
    choices = [matrix.parameters[name] for name in names]
    product: Iterator[tuple[str, ...]] = itertools.product(*choices)
    combinations = [dict(zip(names, each, strict=True)) for each in product if names]
    kept = [each for each in combinations if not _excluded(each, matrix.exclude)]
    for index, extra in enumerate(matrix.include):
        wanted = set(names or matrix.include[0])
        if set(extra) != wanted:
            raise InvalidSpecError(
                reasons.INVALID_SPEC,
                f"{where}.include[{index}] must have a value for each of"
                f" {', '.join(sorted(wanted))}, and no other",
            )
        if extra not in kept:
            kept.append(dict(extra))
    if not kept:
        raise InvalidSpecError(
            reasons.INVALID_SPEC, f"{where} has no member: exclude fewer combinations"
        )
    return tuple(kept)


def _excluded(values: Values, exclude: list[dict[str, str]]) -> bool:
    return any(each.items() <= values.items() for each in exclude if each)


def _check_names(experiment: str, found: Layout) -> None:
    owner: dict[str, Slot] = {}
    for each in found.tasks.values():
        for slot in each.slots:
            name = naming.unit_name(experiment, slot.task, slot.member)
            if name in owner:
                raise InvalidSpecError(
                    reasons.INVALID_SPEC,
                    f"{owner[name]} and {slot} would both need an ExecutionUnit named {name!r}:"
                    " rename one of the tasks",
                )
            owner[name] = slot
