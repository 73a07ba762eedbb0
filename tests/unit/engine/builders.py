"""Short ways to write down experiments, units and their phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from runyard.api import (
    Attempt,
    Condition,
    ExperimentSpec,
    ExperimentStatus,
    Handle,
    ProfileSpec,
    Task,
    UnitPhase,
    UnitSpec,
    UnitStatus,
    UsedProfile,
)
from runyard_operator.engine import effects, naming, slots
from runyard_operator.engine.check import InvalidSpecError
from runyard_operator.engine.experiment import ExperimentDecision, ExperimentView, SlotUnit, plan
from runyard_operator.engine.observation import Observation, State
from runyard_operator.engine.slots import Layout, Slot
from runyard_operator.engine.unit import Fact, UnitDecision, UnitView, step

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
JOB = Handle(kind="Job", name="exp-a-1", uid="job-uid")


def task(name: str, *after: str, **more: Any) -> Task:
    """A task; each edge is written as `parent` or `parent:Failed`."""
    edges = [dict(zip(("task", "when"), edge.split(":"), strict=False)) for edge in after]
    fields = {"script": {"inline": "true"}, "executor": {"job": {"image": "img"}}, **more}
    return Task.model_validate({"name": name, "after": edges, **fields})


def experiment(
    *tasks: Task,
    profiles: Mapping[str, dict[str, Any]] | None = None,
    last: Sequence[Task] = (),
    **spec: Any,
) -> ExperimentView:
    """An experiment that nobody has looked at yet, with our finalizer on it.

    `last` are its tasks of `finally`.
    """
    known = {
        name: UsedProfile(name=name, namespace="ns", spec=ProfileSpec.model_validate(each))
        for name, each in (profiles or {}).items()
    }
    if last:
        spec["finally"] = [each.to_dict() for each in last]
    model = ExperimentSpec.model_validate({"tasks": [each.to_dict() for each in tasks], **spec})
    try:
        layout = slots.layout("exp", model)
    except InvalidSpecError:
        layout = None
    return ExperimentView(
        namespace="ns",
        name="exp",
        uid="exp-uid",
        generation=1,
        spec=model,
        layout=layout,
        status=ExperimentStatus(observed_generation=-1),
        profiles=known,
    )


def accepted(view: ExperimentView, now: datetime = NOW) -> ExperimentView:
    """The experiment after it was accepted; none of its units is made."""
    view = replace(view, status=plan(view, now).status)
    assert view.accepted, view.status
    return view


def made(view: ExperimentView, **phases: UnitPhase | Sequence[UnitPhase]) -> ExperimentView:
    """The accepted experiment with the units of the tasks that are named, in these phases.

    The members of a matrix have a sequence of phases, and `-` in a name is written as `_`. A
    Succeeded unit has written its outputs.
    """
    view = accepted(view)
    units: dict[Slot, SlotUnit] = {}
    for name, given in phases.items():
        place = layout_of(view).tasks[name.replace("_", "-")]
        each = [given] if isinstance(given, UnitPhase) else given
        units.update(
            (slot, _slot_unit(place.task, slot, phase))
            for slot, phase in zip(place.slots, each, strict=False)
        )
    return noted(replace(view, units=units))


def noted(view: ExperimentView, now: datetime = NOW) -> ExperimentView:
    """The experiment after its status was written once more."""
    return replace(view, status=plan(view, now).status)


def layout_of(view: ExperimentView) -> Layout:
    """The slots of an experiment that has a valid graph."""
    assert view.layout is not None
    return view.layout


def _slot_unit(of: Task, slot: Slot, phase: UnitPhase) -> SlotUnit:
    succeeded = phase is UnitPhase.SUCCEEDED
    return SlotUnit(
        name=naming.unit_name("exp", slot.task, slot.member),
        uid=f"uid-{slot}",
        phase=phase,
        reason=str(phase),
        outputs={o.name: f"{slot}-{o.name}" for o in of.outputs} if succeeded else {},
    )


def told(decision: ExperimentDecision) -> dict[str, str]:
    """What a decision does, by unit or slot.

    `{slot: "create" | "skip:<reason>" | "adopt", unit: "cancel" | "suspend" | "resume"}`
    """
    said: dict[str, str] = {}
    for effect in decision.effects:
        match effect:
            case effects.CreateUnit(slot=slot, spec=spec):
                said[str(slot)] = "adopt" if spec.adopted else "create"
                if spec.skip is not None:
                    said[str(slot)] = f"skip:{spec.skip.reason}"
            case effects.UpdateUnit(name=name, cancel=True):
                said[name] = "cancel"
            case effects.UpdateUnit(name=name, suspend=suspend):
                said[name] = "suspend" if suspend else "resume"
            case other:
                said[type(other).__name__] = "yes"
    return said


def unit_spec(**more: Any) -> UnitSpec:
    """The spec of a unit of a job executor."""
    fields = {"script": {"inline": "true"}, "executor": {"job": {"image": "img"}}, **more}
    return UnitSpec.model_validate(fields)


def unit(status: UnitStatus | None = None, **more: Any) -> UnitView:
    """A unit; what UnitView has no field for goes into its spec."""
    own = {key: more.pop(key) for key in ("deleting", "finalizer", "generation") if key in more}
    return UnitView(
        namespace="ns",
        name="exp-a",
        uid="u1",
        spec=unit_spec(**more),
        status=status or UnitStatus(observed_generation=-1),
        **{"generation": 1, **own},
    )


def after(view: UnitView, *facts: Fact, now: datetime = NOW) -> UnitView:
    """The unit after these facts, each of them decided on and written."""
    for fact in facts:
        view = replace(view, status=step(view, fact, now).status)
    return view


def with_spec(view: UnitView, **changes: Any) -> UnitView:
    """The unit after a change of its spec, in the next generation."""
    spec = UnitSpec.model_validate({**view.spec.to_dict(), **changes})
    return replace(view, spec=spec, generation=view.generation + 1)


def seen(state: State, **more: Any) -> Observation:
    """An observation; a job that exists brings its handle."""
    there = state not in (State.ABSENT, State.UNKNOWN)
    return Observation(state=state, **{"handle": JOB if there else None, **more})


def attempt(view: UnitView | UnitDecision) -> Attempt:
    """The current attempt of a unit that has one."""
    return view.status.attempts[-1]


def condition(view: UnitView | UnitDecision | ExperimentDecision, type_: str) -> Condition:
    """A condition that must be there."""
    return next(each for each in view.status.conditions if each.type == type_)
