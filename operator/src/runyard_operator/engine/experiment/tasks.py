"""What becomes of each task: created, released, skipped, cancelled, or left alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runyard.api.experiment import ExperimentSpec, FailurePolicy
from runyard.api.task import Dependency, Task, When
from runyard.api.unit import Gate, Skip, UnitPhase, UnitSpec
from runyard_operator.engine import effects, graph, reasons, references
from runyard_operator.engine.experiment.view import ExperimentView, TaskUnit

DEPENDENCIES = Gate(name="dependencies")
"""The gate that every unit is born with.

Also that of a task without edges: until all units are made, and that is written, none may run, for
a unit that is missing is made, and a task whose unit was deleted must not run again.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """The next state of a task's unit: how it will count, and the effect that takes it there."""

    phase: UnitPhase
    effect: effects.CreateUnit | effects.UpdateUnit | None = None


def create(view: ExperimentView, task: Task) -> effects.CreateUnit:
    """The unit of a task as it is born, held until all units exist and its edges are met."""
    spec = UnitSpec(
        **{name: getattr(task, name) for name in type(task).model_fields if name in _WORK},
        experiment=view.name,
        task=task.name,
        code=view.staged_code,
        gates=[DEPENDENCIES],
    )
    return effects.CreateUnit(task.name, spec)


_WORK = frozenset({"script", "env", "launcher", "executor", "outputs"})


def written(view: ExperimentView) -> dict[str, UnitPhase]:
    """The written phase of every task, in the order of the spec.

    A task without a unit counts as Cancelled: its unit was deleted by somebody, or it will never
    be made.
    """
    return {
        task.name: view.units[task.name].phase if task.name in view.units else UnitPhase.CANCELLED
        for task in view.spec.tasks
    }


def cancel(name: str, unit: TaskUnit) -> effects.UpdateUnit | None:
    """What cancels the unit of a task; None when it is cancelled already."""
    if unit.spec.cancel:
        return None
    return effects.UpdateUnit(name, unit.uid, unit.spec.model_copy(update={"cancel": True}))


def unhandled_failures(spec: ExperimentSpec, phases: Mapping[str, UnitPhase]) -> list[str]:
    """The tasks that failed and whose failure no task with a `Failed` edge has handled."""
    handled = {
        dependency.task
        for task in spec.tasks
        for dependency in task.after
        if dependency.when is When.FAILED and phases.get(task.name) is UnitPhase.SUCCEEDED
    }
    failed = (name for name, phase in phases.items() if phase is UnitPhase.FAILED)
    return [name for name in failed if name not in handled]


def fail_fast(spec: ExperimentSpec, phases: Mapping[str, UnitPhase]) -> str | None:
    """The first failed task that nobody waits for by a `Failed` or `Finished` edge, if any."""
    if spec.failure_policy is not FailurePolicy.FAIL_FAST:
        return None
    awaited = {
        dependency.task
        for task in spec.tasks
        for dependency in task.after
        if dependency.when is not When.SUCCEEDED
    }
    failed = (name for name, phase in phases.items() if phase is UnitPhase.FAILED)
    return next((name for name in failed if name not in awaited), None)


def advance(view: ExperimentView, ordered: Sequence[Task]) -> dict[str, Step]:
    """The next step of every task, parents first, so that a skip reaches its descendants at once.

    `ordered` has parents before children.
    """
    steps: dict[str, Step] = {}
    phases = written(view)
    culprit = fail_fast(view.spec, phases)
    ending = view.spec.cancel or culprit is not None
    for task in ordered:
        unit = view.units.get(task.name)
        if unit is None or unit.phase.terminal:
            steps[task.name] = Step(phases[task.name])
        elif unit.spec.skip is not None:
            steps[task.name] = Step(UnitPhase.SKIPPED)
        elif unit.spec.gates and not view.spec.cancel and not unit.spec.cancel:
            steps[task.name] = _gated(view, task, unit, steps, culprit)
        else:
            steps[task.name] = Step(unit.phase, cancel(task.name, unit) if ending else None)
    return steps


def _gated(
    view: ExperimentView,
    task: Task,
    unit: TaskUnit,
    steps: Mapping[str, Step],
    culprit: str | None,
) -> Step:
    coming = {name: step.phase for name, step in steps.items()}
    verdict, dependency = graph.readiness(task, coming)
    if verdict is graph.Readiness.NEVER and dependency is not None:
        return _skip(task, unit, reasons.DEPENDENCY_NOT_MET, _not_met(dependency, coming))
    if culprit is not None:
        return _skip(task, unit, reasons.FAIL_FAST, f"task {culprit!r} failed")
    # A skip that is only on its way may lead to further skips, but never to a start.
    verdict, _ = graph.readiness(task, written(view))
    if verdict is not graph.Readiness.READY:
        return Step(unit.phase)
    try:
        spec = references.resolve(unit.spec, _outputs(view.units.items()))
    except references.NoValueError as error:
        return _skip(task, unit, reasons.DEPENDENCY_NOT_MET, str(error))
    released = spec.model_copy(update={"gates": []})
    return Step(unit.phase, effects.UpdateUnit(task.name, unit.uid, released))


def _skip(task: Task, unit: TaskUnit, reason: str, message: str) -> Step:
    spec = unit.spec.model_copy(update={"skip": Skip(reason=reason, message=message)})
    return Step(UnitPhase.SKIPPED, effects.UpdateUnit(task.name, unit.uid, spec))


def _not_met(dependency: Dependency, phases: Mapping[str, UnitPhase]) -> str:
    ended = phases[dependency.task]
    return f"needs {dependency.task!r} to end as {dependency.when}; it ended as {ended}"


def _outputs(units: Iterable[tuple[str, TaskUnit]]) -> dict[str, dict[str, str]]:
    return {
        name: {output.name: output.value for output in unit.status.outputs} for name, unit in units
    }
