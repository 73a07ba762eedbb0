"""The DAG: what may start, what never can, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from runyard.api.constants import MAX_OUTPUT_BYTES
from runyard.api.task import Dependency, Task, When
from runyard.api.unit import UnitPhase
from runyard_operator.engine import reasons, references
from runyard_operator.engine.check import InvalidSpecError

Phases = Mapping[str, UnitPhase]
"""The phase of each task's unit, by task name."""


class Readiness(StrEnum):
    """What the edges of a task say together."""

    READY = "Ready"
    WAITING = "Waiting"
    NEVER = "Never"


def edge(dependency: Dependency, parent: UnitPhase) -> Readiness:
    """What one edge says, given how far its parent is.

    >>> edge(Dependency(task="a"), UnitPhase.FAILED)
    <Readiness.NEVER: 'Never'>
    """
    if not parent.terminal:
        return Readiness.WAITING
    met = {
        When.SUCCEEDED: parent is UnitPhase.SUCCEEDED,
        When.FAILED: parent is UnitPhase.FAILED,
        When.FINISHED: True,
    }[dependency.when]
    return Readiness.READY if met else Readiness.NEVER


def readiness(task: Task, phases: Phases) -> tuple[Readiness, Dependency | None]:
    """What all edges of a task say, and the edge that decides it: all of them must be met."""
    waiting: Dependency | None = None
    for dependency in task.after:
        match edge(dependency, phases[dependency.task]):
            case Readiness.NEVER:
                return Readiness.NEVER, dependency
            case Readiness.WAITING:
                waiting = waiting or dependency
    return (Readiness.WAITING, waiting) if waiting else (Readiness.READY, None)


def in_order(tasks: Iterable[Task]) -> list[Task]:
    """The tasks, parents first; otherwise in the order in which they are written.

    Raises:
        InvalidSpecError: the edges form a cycle, or name a task that does not exist.
    """
    waiting = {task.name: task for task in tasks}
    names = set(waiting)
    ordered: list[Task] = []
    done: set[str] = set()
    for task in waiting.values():
        for dependency in task.after:
            if dependency.task not in names:
                raise InvalidSpecError(
                    reasons.INVALID_GRAPH,
                    f"tasks[{task.name}].after names {dependency.task!r}, which is not a task of"
                    " this experiment: correct the name",
                )
    while waiting:
        free = [t for t in waiting.values() if all(d.task in done for d in t.after)]
        if not free:
            raise InvalidSpecError(
                reasons.INVALID_GRAPH,
                f"the tasks wait for each other in a cycle: {_cycle(waiting)}."
                " Remove one of these 'after' edges",
            )
        for task in free:
            ordered.append(waiting.pop(task.name))
            done.add(task.name)
    return ordered


def _cycle(waiting: Mapping[str, Task]) -> str:
    """One cycle as `a -> b -> a`; every task in `waiting` waits for another one in it."""
    path = [next(iter(waiting))]
    while True:
        step = next(d.task for d in waiting[path[-1]].after if d.task in waiting)
        if step in path:
            return " -> ".join([*path[path.index(step) :], step])
        path.append(step)


def check_references(tasks: Iterable[Task]) -> None:
    """Checks that every `${tasks.x.outputs.y}` will have a value when its task starts.

    That is so when x declares y and is an ancestor through `Succeeded` edges alone: a task that
    succeeds has written all the outputs that it declares.

    Raises:
        InvalidSpecError: with the path of the text that is wrong.
    """
    by_name = {task.name: task for task in tasks}
    for task in by_name.values():
        surely = _succeeded_ancestors(task, by_name)
        for reference in references.find(task):
            where = f"tasks[{task.name}].{reference.path}"
            if reference.task is None:
                problem = "is not of the form ${tasks.NAME.outputs.OUTPUT}"
            elif reference.task not in by_name:
                problem = f"names {reference.task!r}, which is not a task of this experiment"
            elif reference.task not in surely:
                problem = (
                    f"needs {reference.task!r} to have succeeded: add it to this task's 'after'"
                    " with when: Succeeded"
                )
            elif all(each.name != reference.output for each in by_name[reference.task].outputs):
                problem = f"names an output that {reference.task!r} does not declare in 'outputs'"
            else:
                continue
            raise InvalidSpecError(
                reasons.INVALID_REFERENCE, f"{where}: {reference.text} {problem}"
            )
        if (path := references.outgrows(task)) is not None:
            raise InvalidSpecError(
                reasons.INVALID_REFERENCE,
                f"tasks[{task.name}].{path}: with values of {MAX_OUTPUT_BYTES} bytes it would be"
                " too long: name fewer outputs in one text",
            )


def _succeeded_ancestors(task: Task, by_name: Mapping[str, Task]) -> set[str]:
    found: set[str] = set()
    stack = [task]
    while stack:
        for dependency in stack.pop().after:
            if dependency.when is When.SUCCEEDED and dependency.task not in found:
                found.add(dependency.task)
                stack.append(by_name[dependency.task])
    return found
