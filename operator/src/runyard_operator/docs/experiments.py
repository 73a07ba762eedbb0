"""Walks the engine of experiments as `units` walks that of units.

One task and one task of `finally` are enough: the phase of an experiment depends on what it waits
for, not on how much of it there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from runyard.api.executor import Executor, JobExecutor
from runyard.api.experiment import (
    ExperimentSpec,
    ExperimentStatus,
    Mode,
    RerunOf,
    TaskApproval,
    UsedProfile,
    Verdict,
)
from runyard.api.profile import ProfileSpec, TaskDefaults
from runyard.api.task import Approval, Dependency, Script, Task
from runyard.api.unit import UnitPhase, UnitSpec
from runyard_operator.docs.transitions import BIRTH, Cause, Step, Told
from runyard_operator.engine import conditions, effects
from runyard_operator.engine.experiment import (
    ExperimentDecision,
    ExperimentView,
    Foreign,
    Planned,
    SlotUnit,
    plan,
)
from runyard_operator.engine.slots import Slot

_BIRTH_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SOON: Final = timedelta(seconds=1)
_LATER: Final = timedelta(hours=1)
_DEADLINE: Final = 60
_TASK: Final = Slot("task")
_LAST: Final = Slot("last")
_NAMES: Final = {_TASK: "a task", _LAST: "a task of `finally`"}
_STEPS: Final = (UnitPhase.RUNNING, UnitPhase.SUCCEEDED, UnitPhase.FAILED, UnitPhase.CANCELLED)


def _task(name: str, image: str | None = "image", **more: Any) -> Task:
    executor = Executor(job=JobExecutor(image=image))
    return Task(name=name, script=Script(inline="true"), executor=executor, **more)


def _spec(*tasks: Task, **more: Any) -> ExperimentSpec:
    tasks = tasks or (_task(_TASK.task, approval=Approval()),)
    final = {"finally_": [_task(_LAST.task)], "active_deadline_seconds": _DEADLINE}
    return ExperimentSpec(tasks=list(tasks), **{**final, **more})


def _births() -> Iterator[tuple[str, ExperimentView]]:
    """Everything that an experiment may be born with and that makes a difference."""
    yield "made", _born(_spec())
    yield "made", _born(_spec(finally_=[]))
    circle = [_task(one, after=[Dependency(task=other)]) for one, other in ("ab", "ba")]
    yield "made with a cycle", _born(_spec(*circle))
    yield "made without an image", _born(_spec(_task(_TASK.task, image=None)))
    defaults = TaskDefaults(profile="missing")
    yield "made with a profile that does not exist", _born(_spec(defaults=defaults))
    rerun = _spec(rerun_of=RerunOf(name="missing"))
    yield "made to rerun what does not exist", replace(_born(rerun), earlier=None)
    yield "made with `mode: Plan`", _born(_spec(mode=Mode.PLAN))
    taken = {_TASK: Foreign("walked-task")}
    yield "made", replace(_born(_spec()), foreign=taken)


def _born(spec: ExperimentSpec) -> ExperimentView:
    return ExperimentView(
        namespace="team",
        name="walked",
        uid="1",
        generation=1,
        spec=spec,
        status=ExperimentStatus(observed_generation=-1),
        finalizer=False,
        live=True,
    )


@dataclass
class _Walk:
    steps: set[Step] = field(default_factory=set)
    _seen: set[object] = field(default_factory=set)
    _waiting: list[tuple[ExperimentView, datetime]] = field(default_factory=list)

    def start(self, birth: str, view: ExperimentView) -> None:
        """Takes a new experiment in, and walks on until nothing new is found."""
        self._arrive(view, view, _BIRTH_TIME, Cause(birth, ""), Told())
        while self._waiting:
            here, now = self._waiting.pop()
            told = Told()
            for cause, moved in _moves(here):
                self._arrive(here, moved, now + _SOON, cause, told)
            self._arrive(here, here, now + _LATER, Cause("", "", late=True), told)

    def _arrive(
        self,
        before: ExperimentView,
        view: ExperimentView,
        now: datetime,
        cause: Cause,
        told: Told,
        fact: Planned | None = None,
    ) -> None:
        decision = plan(view, now, fact)
        after = _carried_out(view, decision)
        old, new = before.status.phase or BIRTH, after.status.phase or BIRTH
        if told.is_news(cause, (new, after.status.reason)) and old != new:
            self.steps.add(Step(str(old), str(new), after.status.reason or "", cause))
        if any(isinstance(each, effects.RenderPlan) for each in decision.effects):
            for problems in ((), ("refused",)):
                news = "the plan has problems" if problems else "the plan is written"
                planned = Planned("walked-plan", "digest", problems)
                self._arrive(after, after, now, Cause("", news), Told(), planned)
        if (key := _key(after)) not in self._seen:
            self._seen.add(key)
            self._waiting.append((after, now))


@cache
def walk() -> frozenset[Step]:
    """All transitions of an experiment."""
    found = _Walk()
    for birth, view in _births():
        found.start(birth, view)
    return frozenset(found.steps)


def _key(view: ExperimentView) -> object:
    """What the engine can tell states by; times and texts do not count."""
    spec, status = view.spec, view.status
    if view.ended:
        return status.phase, view.deleting, view.finalizer, bool(view.units)
    return (
        (view.deleting, view.finalizer, status.phase, spec.mode, status.start_time is None),
        (spec.cancel, spec.suspend, str(spec.approvals), bool(spec.finally_)),
        (spec.defaults is None or bool(view.profiles), view.earlier is None, bool(view.foreign)),
        tuple((each.name, each.states) for each in status.tasks),
        frozenset((each.type, each.status) for each in status.conditions if each.type in _TELLING),
        tuple((slot, each.phase, each.cancel) for slot, each in view.units.items()),
    )


_TELLING: Final = (conditions.SUSPENDED, conditions.DEADLINE_EXCEEDED)
"""The conditions of an unfinished experiment that the engine reads again."""


def _moves(view: ExperimentView) -> Iterator[tuple[Cause, ExperimentView]]:
    """The experiment as it is, with one more wish of a user, and with one more fact."""
    yield Cause("", ""), view
    if view.ended:
        return
    for wish, change in _wishes(view):
        spec = view.spec.model_copy(update=change)
        yield Cause(wish, ""), replace(view, spec=spec, generation=view.generation + 1)
    if view.finalizer and not view.deleting:
        yield Cause("delete", ""), replace(view, deleting=True)
    if view.foreign:
        yield Cause("", "the name is free again"), replace(view, foreign={})
    if view.spec.defaults is not None and not view.profiles:
        profile = UsedProfile(name="missing", namespace="team", spec=ProfileSpec())
        written = replace(view, profiles={"missing": profile})
        yield Cause("", "the profile is written"), written
    if view.earlier is None:
        yield Cause("", "the earlier experiment is there"), replace(view, earlier={})
    for name, units in _units_on_their_way(view):
        yield Cause("", name), replace(view, units=units)


def _units_on_their_way(
    view: ExperimentView,
) -> Iterator[tuple[str, dict[Slot, SlotUnit]]]:
    """The units with one of them in another phase."""
    for slot, unit in view.units.items():
        if not unit.phase.terminal:
            for phase in _STEPS:
                if phase is not unit.phase:
                    moved = {**view.units, slot: replace(unit, phase=phase, deleting=False)}
                    yield f"{_NAMES[slot]} is `{phase}`", moved


def _wishes(view: ExperimentView) -> Iterator[tuple[str, dict[str, Any]]]:
    """Changes of the spec, each with its name."""
    if view.spec.cancel:
        return
    yield "cancel", {"cancel": True}
    yield "resume" if view.spec.suspend else "suspend", {"suspend": not view.spec.suspend}
    if not view.spec.approvals and any(task.approval for task in view.spec.tasks):
        for verdict in Verdict:
            approval = TaskApproval(task=_TASK.task, verdict=verdict)
            yield str(verdict).lower(), {"approvals": [approval]}


def _carried_out(view: ExperimentView, decision: ExperimentDecision) -> ExperimentView:
    """The experiment once the decision is written and its effects are done."""
    finalizer, units = view.finalizer, dict(view.units)
    for effect in decision.effects:
        match effect:
            case effects.AddFinalizer():
                finalizer = True
            case effects.ReleaseFinalizer():
                finalizer = False
            case effects.CreateUnit():
                units[effect.slot] = _made(effect.name, effect.spec)
            case effects.UpdateUnit():
                for slot, unit in view.units.items():
                    if unit.name == effect.name:
                        units[slot] = _changed(unit, effect)
            case effects.DeleteUnit():
                # Its own finalizer, with which it ends its job, is the business of the unit.
                units = {slot: each for slot, each in units.items() if each.name != effect.name}
            case _:
                pass
    return replace(view, status=decision.status, finalizer=finalizer, units=units)


def _made(name: str, spec: UnitSpec) -> SlotUnit:
    if spec.skip is None:
        return SlotUnit(name=name, uid=name, phase=UnitPhase.QUEUED)
    return SlotUnit(name=name, uid=name, phase=UnitPhase.SKIPPED, skip=spec.skip.reason)


def _changed(unit: SlotUnit, effect: effects.UpdateUnit) -> SlotUnit:
    return replace(
        unit,
        cancel=unit.cancel if effect.cancel is None else effect.cancel,
        suspend=unit.suspend if effect.suspend is None else effect.suspend,
    )
