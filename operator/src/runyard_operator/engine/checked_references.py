"""Checks, before anything starts, that every reference will have a value when it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from runyard.api.constants import MAX_OUTPUT_BYTES
from runyard.api.experiment import ExperimentSpec
from runyard.api.matrix import MAX_MATRIX_VALUE
from runyard.api.task import AfterPolicy, Task, When
from runyard_operator.engine import reasons, references
from runyard_operator.engine.check import InvalidSpecError
from runyard_operator.engine.references import Reference
from runyard_operator.engine.slots import Layout, TaskSlots

EXPERIMENT: Final = frozenset({"experiment.name", "experiment.namespace"})
RESULT: Final = frozenset(
    {
        "experiment.phase",
        *(
            f"experiment.counts.{each}"
            for each in ("total", "succeeded", "failed", "cancelled", "skipped")
        ),
    }
)
"""What only a task of `finally` can know."""
_TASK: Final = frozenset({"task.name", "task.index"})
_SHORT: Final = 253
"""Characters of the longest name, number or key."""


def check(spec: ExperimentSpec, layout: Layout, tasks: Mapping[str, Task]) -> None:
    """Checks every reference of `tasks`, which have all that they inherit merged in.

    An output has a value when its task declares it and is an ancestor through `Succeeded` edges
    alone: a task that succeeds has written all the outputs that it declares. In `finally` an
    output that there is not is empty.

    Raises:
        InvalidSpecError: with the path of the text that is wrong.
    """
    params = {each.name: each.value for each in spec.params}
    for place in layout.tasks.values():
        task = tasks[place.task.name]
        where = f"{'finally' if place.final else 'tasks'}[{task.name}]"
        scope = _Scope(task, place, layout, tasks, params)
        for reference in references.find(task):
            if (problem := scope.problem(reference)) is not None:
                raise InvalidSpecError(
                    reasons.INVALID_REFERENCE,
                    f"{where}.{reference.path}: {reference.text} {problem}",
                )
        if (path := references.outgrows(task, scope.longest)) is not None:
            raise InvalidSpecError(
                reasons.INVALID_REFERENCE,
                f"{where}.{path}: with values of {MAX_OUTPUT_BYTES} bytes it would be too long:"
                " name fewer outputs in one text",
            )


class _Scope:
    """What the references of one task may name."""

    def __init__(
        self,
        task: Task,
        place: TaskSlots,
        layout: Layout,
        tasks: Mapping[str, Task],
        params: Mapping[str, str],
    ) -> None:
        self._task = task
        self._place = place
        self._layout = layout
        self._tasks = tasks
        self._params = params
        self._succeeded = _ancestors(task, tasks, sure=True)
        self._ended = _ancestors(task, tasks, sure=False)

    def problem(self, reference: Reference) -> str | None:
        """What is wrong with a reference; None when nothing is."""
        if not reference.closed:
            return "has no closing brace"
        if any(map(str.isspace, reference.inner)):
            return "has a space in it: remove it"
        root, _, rest = reference.inner.partition(".")
        match root:
            case "params":
                return None if rest in self._params else _unknown("spec.params", self._params)
            case "matrix":
                return self._matrix(rest)
            case "tasks":
                return self._of_task(reference)
            case "experiment":
                return self._of_experiment(reference.inner)
        known = _TASK if root == "task" else references.ATTEMPT
        return None if reference.inner in known else f"is not one of {_texts(known)}"

    def longest(self, inner: str) -> int:
        """The most characters of its value; what a matrix hands over is measured when it does."""
        root, _, rest = inner.partition(".")
        if root == "params":
            return len(self._params[rest])
        if root == "matrix":
            return MAX_MATRIX_VALUE
        output = Reference("", "", inner).output
        if output is None:
            return _SHORT
        return 0 if self._layout.tasks[output[0]].members is not None else MAX_OUTPUT_BYTES

    def _matrix(self, name: str) -> str | None:
        if self._place.members is None:
            return "needs a matrix, and this task has none"
        values = self._place.members[0]
        return None if name in values else _unknown("this task's matrix", values)

    def _of_experiment(self, inner: str) -> str | None:
        if inner in EXPERIMENT or (inner in RESULT and self._place.final):
            return None
        if inner in RESULT:
            return "is known only to tasks of 'finally'"
        return f"is not one of {_texts(EXPERIMENT | RESULT)}"

    def _of_task(self, reference: Reference) -> str | None:
        output = reference.output
        name = output[0] if output else reference.phase_of
        if name is None:
            return "is not of the form ${tasks.NAME.outputs.OUTPUT} or ${tasks.NAME.phase}"
        if name not in self._tasks or self._layout.tasks[name].final:
            return f"names {name!r}, which is not a task of this experiment"
        if output is None:
            if self._place.final or name in self._ended:
                return None
            return f"needs {name!r} to have ended: add it to this task's 'after'"
        if not self._place.final and name not in self._succeeded:
            return (
                f"needs {name!r} to have succeeded: add it to this task's 'after' with when:"
                " Succeeded"
            )
        if all(each.name != output[1] for each in self._tasks[name].outputs):
            return f"names an output that {name!r} does not declare in 'outputs'"
        return None


def _ancestors(task: Task, tasks: Mapping[str, Task], *, sure: bool) -> set[str]:
    """The tasks that have surely ended, or with `sure` surely Succeeded, when `task` starts.

    Of several edges of which one is enough, none is sure. A parent that only had to end may have
    been Skipped while its own parents still ran.
    """
    found: set[str] = set()
    stack = [task]
    while stack:
        child = stack.pop()
        if child.after_policy is AfterPolicy.ANY and len(child.after) > 1:
            continue
        for dependency in child.after:
            if sure and dependency.when is not When.SUCCEEDED:
                continue
            found.add(dependency.task)
            if dependency.when is not When.FINISHED:
                stack.append(tasks[dependency.task])
    return found


def _texts(names: Iterable[str]) -> str:
    return ", ".join(f"${{{each}}}" for each in sorted(names))


def _unknown(where: str, names: Iterable[str]) -> str:
    known = ", ".join(sorted(names))
    return f"is not in {where}" + (f", which has {known}" if known else "")
