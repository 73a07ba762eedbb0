"""What a failure does, and what the experiment's result is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from runyard.api.experiment import ExperimentPhase, ExperimentSpec, FailurePolicy
from runyard.api.task import When
from runyard.api.unit import UnitPhase
from runyard_operator.engine import graph
from runyard_operator.engine.graph import Progress
from runyard_operator.engine.slots import Layout, Slot, TaskSlots

Phases = Mapping[Slot, UnitPhase]


def progress(place: TaskSlots, phases: Phases) -> Progress:
    """How far a task is."""
    return graph.progress(phases[slot] for slot in place.slots)


def fail_fast(spec: ExperimentSpec, layout: Layout, phases: Phases) -> Slot | None:
    """The first failure that ends the experiment early: nobody waits for it, nobody allows it."""
    if spec.failure_policy is not FailurePolicy.FAIL_FAST:
        return None
    awaited = {
        dependency.task
        for task in spec.tasks
        for dependency in task.after
        if dependency.when is not When.SUCCEEDED
    }
    failed = (
        slot
        for place in layout.main
        if place.task.name not in awaited and not place.task.allow_failure
        for slot in _failed(place, phases)
    )
    return next(failed, None)


def unhandled(places: Sequence[TaskSlots], phases: Phases) -> list[Slot]:
    """The failures that make the experiment fail.

    A failure is handled where it is allowed, and where a task with a `Failed` edge on it Succeeded.
    """
    handled = {
        dependency.task
        for place in places
        for dependency in place.task.after
        if dependency.when is When.FAILED and progress(place, phases).ended is UnitPhase.SUCCEEDED
    }
    return [
        slot
        for place in places
        if place.task.name not in handled and not place.task.allow_failure
        for slot in _failed(place, phases)
    ]


def main_ended(layout: Layout, phases: Phases) -> bool:
    """Whether every task of the graph has ended, so that those of `finally` may start."""
    return all(phases[slot].terminal for place in layout.main for slot in place.slots)


def result(
    places: Sequence[TaskSlots], phases: Phases, *, cancel: bool, exceeded: bool
) -> tuple[ExperimentPhase, list[Slot]]:
    """The result once these tasks have ended, and the slots that made it so."""
    cancelled = [
        slot for place in places for slot in place.slots if phases[slot] is UnitPhase.CANCELLED
    ]
    failed = unhandled(places, phases)
    if cancel and cancelled:
        return ExperimentPhase.CANCELLED, cancelled
    if failed or exceeded:
        return ExperimentPhase.FAILED, failed
    if cancelled:
        return ExperimentPhase.CANCELLED, cancelled
    return ExperimentPhase.SUCCEEDED, []


def _failed(place: TaskSlots, phases: Phases) -> Iterator[Slot]:
    return (slot for slot in place.slots if phases[slot] is UnitPhase.FAILED)
