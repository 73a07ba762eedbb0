"""Walks the engine of units through everything that can happen and notes the transitions.

From a unit's birth on, each state is given each fact that may be learnt in it, each wish of a user,
and time that passes. States that differ only in times and texts count as one, so the walk ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from runyard.api.constants import MAX_OUTPUT_BYTES
from runyard.api.executor import Executor, JobExecutor
from runyard.api.policy import Backoff, Deadlines, FailureClass, Retry
from runyard.api.task import Output, Script
from runyard.api.unit import Adopted, Attempt, Gate, Handle, OutputValue, Skip, UnitSpec, UnitStatus
from runyard_operator.docs.transitions import BACKEND, BIRTH, Cause, Step, Told
from runyard_operator.engine import conditions, effects, reasons
from runyard_operator.engine.observation import Observation, State
from runyard_operator.engine.unit import (
    Fact,
    Rejected,
    SubmitFailed,
    Submitted,
    UnitDecision,
    UnitView,
    needs_observation,
    step,
)

_BIRTH_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SOON: Final = timedelta(seconds=1)
_LATER: Final = timedelta(hours=1)
"""Longer than every deadline, backoff and grace of the units that are walked."""
_HANDLE: Final = Handle(kind="Job", name="walked", uid="1")
_PATIENCE: Final = 60
_WORK: Final[dict[str, Any]] = {
    "script": Script(inline="true"),
    "executor": Executor(job=JobExecutor(image="image")),
    "outputs": [Output(name="result")],
    "retry": Retry(limit=1, backoff=Backoff(seconds=_PATIENCE)),
    "deadlines": Deadlines(queued_seconds=_PATIENCE, active_seconds=_PATIENCE),
}
_ADOPTED: Final = Adopted(
    experiment="earlier",
    unit="earlier-task",
    uid="0",
    outputs=[OutputValue(name="result", value="1")],
)
_BIRTHS: Final[dict[str, dict[str, Any]]] = {
    "made": {},
    "made with gates": {"gates": [Gate(name="gate")]},
    "made to be skipped": {"skip": Skip(reason=reasons.DEPENDENCY_NOT_MET)},
    "made for an earlier result": {"adopted": _ADOPTED},
}


def _observations() -> Iterator[tuple[str, Observation]]:
    """Every answer of a backend that may make a difference, with its name."""
    for state in State:
        name = f"{BACKEND}{state}"
        seen = Observation(state=state, handle=_HANDLE, reason="")
        match state:
            case State.SUCCEEDED:
                yield name, replace(seen, outputs=(("result", "1"),))
                yield f"{name} without outputs", seen
                long = "x" * (MAX_OUTPUT_BYTES + 1)
                yield f"{name} with large outputs", replace(seen, outputs=(("result", long),))
            case State.FAILED:
                for failure in FailureClass:
                    yield f"{name} ({failure})", replace(seen, failure_class=failure)
            case State.ABSENT | State.UNKNOWN:
                yield name, replace(seen, handle=None)
            case _:
                yield name, seen


_OBSERVATIONS: Final = tuple(_observations())
_DISTINCT: Final = tuple({seen.state: (name, seen) for name, seen in _OBSERVATIONS[::-1]}.values())
"""One for each state, which is enough where time or a wish of the user makes the difference."""


def _answers() -> Iterator[tuple[str, Fact]]:
    """Every answer to a submit."""
    yield "the job was made", Submitted(_HANDLE, "digest")
    yield "the job is refused", SubmitFailed(reasons.REFUSED, "", final=True)
    yield "a human must act first", SubmitFailed(reasons.QUOTA_EXCEEDED, "", stalled=True)
    yield "the submit has no answer", SubmitFailed(reasons.UNREACHABLE, "")


@dataclass(frozen=True, slots=True)
class _Place:
    """A state of the walk, and the time at which it was reached."""

    unit: UnitView
    now: datetime

    def key(self) -> object:
        """What the engine can tell states by; times, texts and earlier attempts do not count."""
        unit, status, spec = self.unit, self.unit.status, self.unit.spec
        if unit.ended:
            return status.phase, unit.finalizer
        return (
            (spec.cancel, unit.deleting, unit.finalizer, status.phase, str(status.retries)),
            bool(spec.gates),
            None if unit.attempt is None else _trace(unit.attempt),
            frozenset(
                (each.type, each.status) for each in status.conditions if each.type in _TELLING
            ),
            None if unit.ending_wanted else _suspension(unit),
        )


_TELLING: Final = (conditions.SUBMITTED, conditions.RUNNING)
"""The conditions of an unfinished unit that the engine reads again."""


def _suspension(unit: UnitView) -> object:
    """Whether the unit is to be suspended, and is."""
    found = conditions.find(unit.status.conditions, conditions.SUSPENDED)
    return unit.spec.suspend, found is not None and found.status


def _trace(attempt: Attempt) -> object:
    """What is known of an attempt, without the when and the where."""
    known = (
        attempt.handle,
        attempt.start_time,
        attempt.completion_time,
        attempt.missing_since,
        attempt.failure_class,
    )
    return tuple(each is None for each in known)


class _Walk:
    def __init__(self) -> None:
        self.steps: set[Step] = set()
        self._seen: set[object] = set()
        self._waiting: list[_Place] = []

    def start(self, birth: str, unit: UnitView) -> None:
        """Takes a new unit in, and walks on until nothing new is found."""
        told = Told()
        for name, fact in _facts(unit, _OBSERVATIONS):
            self._arrive(unit, unit, _BIRTH_TIME, fact, Cause(birth, name), told)
        while self._waiting:
            self._go_on_from(self._waiting.pop())

    def _go_on_from(self, here: _Place) -> None:
        soon, later, told = here.now + _SOON, here.now + _LATER, Told()
        for name, fact in _facts(here.unit, _OBSERVATIONS):
            self._arrive(here.unit, here.unit, soon, fact, Cause("", name), told)
        for wish, unit in _wishes(here.unit):
            for name, fact in _facts(unit, _DISTINCT):
                self._arrive(here.unit, unit, soon, fact, Cause(wish, name), told)
                self._arrive(here.unit, unit, later, fact, Cause(wish, name, late=True), told)

    def _arrive(
        self, before: UnitView, unit: UnitView, now: datetime, fact: Fact, cause: Cause, told: Told
    ) -> None:
        decision = step(unit, fact, now)
        after = _written(unit, decision)
        old, new = before.status.phase or BIRTH, after.status.phase or BIRTH
        if told.is_news(cause, (new, after.status.reason)) and old != new:
            self.steps.add(Step(str(old), str(new), after.status.reason or "", cause))
        there = _Place(after, now)
        if (key := there.key()) not in self._seen:
            self._seen.add(key)
            self._waiting.append(there)
            if any(isinstance(each, effects.Submit) for each in decision.effects):
                for name, answer in _answers():
                    self._arrive(after, after, now, answer, Cause("", name), Told())


@cache
def walk() -> frozenset[Step]:
    """All transitions of a unit."""
    found = _Walk()
    for birth, more in _BIRTHS.items():
        found.start(birth, _born(more))
    return frozenset(found.steps)


def _born(more: dict[str, Any]) -> UnitView:
    return UnitView(
        namespace="team",
        name="walked",
        uid="1",
        generation=1,
        spec=UnitSpec(**_WORK, **more),
        status=UnitStatus(observed_generation=-1),
        finalizer=False,
        settle_seconds=_PATIENCE,
        can_suspend=True,
    )


def _facts(
    unit: UnitView, observations: Iterable[tuple[str, Observation]]
) -> Iterator[tuple[str, Fact]]:
    """What can be learnt in this state."""
    if needs_observation(unit):
        yield from observations
    else:
        yield "", None
        yield "the spec is refused", Rejected(reasons.INVALID_SPEC, "")


def _wishes(unit: UnitView) -> Iterator[tuple[str, UnitView]]:
    """The unit as it is, and with each wish that a user may add."""
    yield "", unit
    if unit.ended or unit.ending_wanted:
        return
    changed = unit.generation + 1
    spec = unit.spec.model_copy(update={"cancel": True})
    yield "cancel", replace(unit, spec=spec, generation=changed)
    if unit.finalizer:  # without one, a deleted object is gone at once
        yield "delete", replace(unit, deleting=True)
    if unit.spec.gates:
        spec = unit.spec.model_copy(update={"gates": []})
        yield "the last gate is removed", replace(unit, spec=spec, generation=changed)
    suspend = not unit.spec.suspend
    spec = unit.spec.model_copy(update={"suspend": suspend})
    yield "suspend" if suspend else "resume", replace(unit, spec=spec, generation=changed)


def _written(unit: UnitView, decision: UnitDecision) -> UnitView:
    """The unit once the decision is written and its effects on the object itself are done."""
    finalizer = unit.finalizer
    for effect in decision.effects:
        if isinstance(effect, effects.AddFinalizer):
            finalizer = True
        elif isinstance(effect, effects.ReleaseFinalizer):
            finalizer = False
    return replace(unit, status=decision.status, finalizer=finalizer)
