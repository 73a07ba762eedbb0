"""Short ways to write down experiments, units and their phases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from runyard.api import (
    Attempt,
    Condition,
    ExperimentSpec,
    ExperimentStatus,
    Gate,
    Handle,
    OutputValue,
    ProfileSpec,
    Task,
    UnitPhase,
    UnitSpec,
    UnitStatus,
)
from runyard_operator.engine import effects
from runyard_operator.engine.experiment import ExperimentDecision, ExperimentView, TaskUnit
from runyard_operator.engine.observation import Observation, State
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
    *tasks: Task, profiles: Mapping[str, dict[str, Any]] | None = None, **spec: Any
) -> ExperimentView:
    """An experiment that nobody has looked at yet, with our finalizer on it."""
    return ExperimentView(
        namespace="ns",
        name="exp",
        uid="exp-uid",
        generation=1,
        spec=ExperimentSpec.model_validate({"tasks": [each.to_dict() for each in tasks], **spec}),
        status=ExperimentStatus(observed_generation=-1),
        profiles={name: ProfileSpec.model_validate(p) for name, p in (profiles or {}).items()},
    )


def made(view: ExperimentView, **phases: UnitPhase) -> ExperimentView:
    """The experiment with the units of the tasks that are named, in these phases.

    A task's unit is still gated exactly if it is Pending. A Succeeded one has
    written its outputs.
    """
    units = {
        each.name: _task_unit(each, phases[each.name])
        for each in view.spec.tasks
        if each.name in phases
    }
    created = Condition(
        type="UnitsCreated",
        status="True",
        reason="UnitsCreated",
        last_transition_time=NOW,
        observed_generation=1,
    )
    return replace(
        view,
        units=units,
        status=view.status.model_copy(update={"conditions": [created], "start_time": NOW}),
    )


def _task_unit(of: Task, phase: UnitPhase) -> TaskUnit:
    gated = phase is UnitPhase.PENDING
    spec = unit_spec(
        gates=[Gate(name="dependencies").to_dict()] if gated else [],
        env=[each.to_dict() for each in of.env],
        script=of.script.to_dict(),
    )
    succeeded = phase is UnitPhase.SUCCEEDED
    outputs = [OutputValue(name=o.name, value=f"{of.name}-{o.name}") for o in of.outputs]
    return TaskUnit(
        uid=f"uid-{of.name}",
        spec=spec,
        status=UnitStatus(phase=phase, outputs=outputs if succeeded else [], reason=str(phase)),
    )


def told(view: ExperimentView, decision: ExperimentDecision) -> dict[str, str]:
    """What a decision does to the units, as `{task: "release" | "cancel" | "skip:<reason>"}`."""
    said: dict[str, str] = {}
    for effect in decision.effects:
        assert isinstance(effect, effects.UpdateUnit), effect
        before = view.units[effect.task]
        assert effect.uid == before.uid
        if effect.spec.skip is not None:
            said[effect.task] = f"skip:{effect.spec.skip.reason}"
        elif effect.spec.cancel:
            said[effect.task] = "cancel"
        else:
            assert (before.spec.gates, effect.spec.gates) == ([Gate(name="dependencies")], [])
            said[effect.task] = "release"
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
