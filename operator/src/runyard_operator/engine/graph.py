"""The DAG: in which order, what may start, and what never can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from runyard.api.task import AfterPolicy, Dependency, Task, When
from runyard.api.unit import UnitPhase
from runyard_operator.engine import reasons
from runyard_operator.engine.check import InvalidSpecError


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is, all its members taken together.

    `ended` is its result once every member has ended. `failing` says that it has not ended, and
    that a member has: it can only end as Failed. `stopping` is the same for Cancelled or Failed.
    """

    ended: UnitPhase | None = None
    failing: bool = False
    stopping: bool = False


def progress(members: Iterable[UnitPhase]) -> Progress:
    """The progress of a task from the phases of its members; a plain task is its only member.

    >>> progress([UnitPhase.SUCCEEDED, UnitPhase.SKIPPED]).ended
    <UnitPhase.SUCCEEDED: 'Succeeded'>
    """
    kinds = set(members)
    failed, cancelled = UnitPhase.FAILED in kinds, UnitPhase.CANCELLED in kinds
    if not all(phase.terminal for phase in kinds):
        return Progress(failing=failed, stopping=failed or cancelled)
    if failed:
        return Progress(UnitPhase.FAILED)
    if cancelled:
        return Progress(UnitPhase.CANCELLED)
    return Progress(UnitPhase.SUCCEEDED if UnitPhase.SUCCEEDED in kinds else UnitPhase.SKIPPED)


class Readiness(StrEnum):
    """What the edges of a task say together."""

    READY = "Ready"
    WAITING = "Waiting"
    NEVER = "Never"


def edge(dependency: Dependency, parent: Progress) -> Readiness:
    """What one edge says, given how far its parent is.

    >>> edge(Dependency(task="a"), Progress(UnitPhase.FAILED))
    <Readiness.NEVER: 'Never'>
    """
    if parent.ended is None:
        lost = dependency.when is When.SUCCEEDED and parent.stopping
        return Readiness.NEVER if lost else Readiness.WAITING
    met = {
        When.SUCCEEDED: parent.ended is UnitPhase.SUCCEEDED,
        When.FAILED: parent.ended is UnitPhase.FAILED,
        When.FINISHED: True,
    }[dependency.when]
    return Readiness.READY if met else Readiness.NEVER


def readiness(task: Task, parents: Mapping[str, Progress]) -> tuple[Readiness, Dependency | None]:
    """What all edges of a task say, and the edge that decides it where one does."""
    verdicts = [(edge(each, parents[each.task]), each) for each in task.after]
    if not verdicts:
        return Readiness.READY, None
    decisive, last = Readiness.NEVER, Readiness.READY
    if task.after_policy is AfterPolicy.ANY:
        decisive, last = last, decisive
    for wanted in (decisive, Readiness.WAITING):
        for verdict, dependency in verdicts:
            if verdict is wanted:
                return verdict, dependency
    return last, verdicts[-1][1]


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


def descendants(roots: Iterable[str], tasks: Iterable[Task]) -> frozenset[str]:
    """The tasks of that name and all that come after them, by whatever edge."""
    found = set(roots)
    for task in in_order(tasks):
        if any(each.task in found for each in task.after):
            found.add(task.name)
    return frozenset(found)
