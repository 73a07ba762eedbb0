"""Ray clusters that one task of an experiment makes and others use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runyard.api.experiment import ExperimentSpec
from runyard.api.task import Task, When
from runyard.api.unit import UnitPhase, UnitSpec
from runyard_operator.engine import effects, naming, reasons
from runyard_operator.engine.check import InvalidSpecError
from runyard_operator.engine.experiment.view import ExperimentView
from runyard_operator.engine.slots import Layout, Slot


def makes(task: Task | UnitSpec) -> bool:
    """Whether the task makes a cluster for others."""
    return task.executor.ray is not None and task.executor.ray.cluster is not None


def borrowed(task: Task | UnitSpec) -> str | None:
    """The task on whose cluster this one runs; None where there is none."""
    ray = task.executor.ray
    return ray.cluster_from.task if ray is not None and ray.cluster_from is not None else None


def check(layout: Layout, tasks: Mapping[str, Task]) -> None:
    """Checks that each borrowed cluster is made, and made before it is used.

    Raises:
        InvalidSpecError: it is not.
    """
    for place in layout.tasks.values():
        task = tasks[place.task.name]
        where = f"{'finally' if place.final else 'tasks'}[{task.name}]"
        if makes(task):
            _check_maker(where, task, has_matrix=place.members is not None)
        source = borrowed(task)
        if source is None:
            continue
        if makes(task):
            raise InvalidSpecError(
                reasons.INVALID_SPEC,
                f"{where}.executor.ray has both cluster and clusterFrom, one of them inherited from"
                " the defaults or the profile: set clusterFrom on the tasks alone",
            )
        field = f"{where}.executor.ray.clusterFrom.task"
        if source not in tasks or not makes(tasks[source]):
            raise InvalidSpecError(
                reasons.INVALID_REFERENCE,
                f"{field}: {source!r} is not a task of this experiment that makes a Ray cluster:"
                " name one with executor.ray.cluster",
            )
        if not place.final and source not in _sure_ancestors(task, tasks):
            raise InvalidSpecError(
                reasons.INVALID_REFERENCE,
                f"{field}: the cluster must be ready before this task: add {source!r} to its"
                " 'after' with when: Succeeded",
            )


def _check_maker(where: str, task: Task, *, has_matrix: bool) -> None:
    wrong = {
        "matrix": has_matrix,
        "outputs": bool(task.outputs),
        "artifacts": bool(task.artifacts),
    }
    for field, is_set in wrong.items():
        if is_set:
            raise InvalidSpecError(
                reasons.INVALID_SPEC,
                f"{where}.{field}: a task that makes a Ray cluster runs no program: set it on the"
                " tasks that use the cluster",
            )


def _sure_ancestors(task: Task, tasks: Mapping[str, Task]) -> set[str]:
    """The tasks that have surely Succeeded when this one starts."""
    found: set[str] = set()
    stack = [task]
    while stack:
        child = stack.pop()
        if len(child.after) > 1 and child.after_policy == "Any":
            continue
        for edge in child.after:
            if edge.when is When.SUCCEEDED and edge.task not in found:
                found.add(edge.task)
                stack.append(tasks[edge.task])
    return found


def bound(experiment: str, spec: UnitSpec) -> UnitSpec:
    """The spec with the unit named whose cluster it runs on."""
    source, ray = borrowed(spec), spec.executor.ray
    if source is None or ray is None or ray.cluster_from is None:
        return spec
    unit = naming.unit_name(experiment, source, None)
    place = ray.cluster_from.model_copy(update={"unit": unit})
    executor = spec.executor.model_copy(
        update={"ray": ray.model_copy(update={"cluster_from": place})}
    )
    return spec.model_copy(update={"executor": executor})


def made_by(spec: ExperimentSpec) -> list[str]:
    """The tasks that make clusters, those that inherit it from a profile left out."""
    return [each.name for each in (*spec.tasks, *spec.finally_) if makes(each)]


def releases(
    view: ExperimentView,
    layout: Layout,
    tasks: Mapping[str, Task],
    phases: Mapping[Slot, UnitPhase],
) -> Iterator[effects.ReleaseCluster]:
    """The clusters that nobody will use any more; `tasks` have what they inherit.

    A cluster that no task names is kept for as long as any task goes on.
    """
    for slot, uid in view.clusters.items():
        if not phases[slot].terminal:
            continue
        users = [name for name, task in tasks.items() if borrowed(task) == slot.task]
        waited = users or list(tasks)
        if all(phases[each].terminal for name in waited for each in layout.tasks[name].slots):
            yield effects.ReleaseCluster(uid)
