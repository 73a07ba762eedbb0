"""Reconciles one ExecutionUnit: look, decide, write the status, then act."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from runyard.api.constants import API_VERSION
from runyard.api.unit import UnitPhase
from runyard_operator.backends.base import Backend
from runyard_operator.context import Context
from runyard_operator.engine import check, effects, pace
from runyard_operator.engine.unit import (
    Fact,
    Rejected,
    Submitted,
    UnitDecision,
    UnitView,
    lost_attempts,
    needs_observation,
    step,
    tells_of_lost,
)
from runyard_operator.kube.api import Object
from runyard_operator.kube.resources import Ref
from runyard_operator.points import Point
from runyard_operator.queue import Key
from runyard_operator.reconcile import views
from runyard_operator.reconcile.archiving import LogKeeper
from runyard_operator.reconcile.jobs import KIND, Jobs
from runyard_operator.reconcile.writer import StaleError, Writer

_SAFE: Final = (effects.AddFinalizer, effects.ReleaseFinalizer, effects.ArchiveLogs)
_SHORT: Final = timedelta(seconds=pace.COALESCE)


@dataclass(frozen=True, slots=True)
class _Made:
    """A job that this process has made and not yet written down."""

    uid: str
    attempt: int
    fact: Submitted
    at: datetime


class UnitReconciler:
    """Brings units forward, one pass at a time.

    Between passes it remembers the jobs that it has made, until they are in a status: the news
    that follows shortly is written together with them. Whoever has no such memory looks them up.
    """

    def __init__(self, context: Context, backends: Mapping[str, Backend]) -> None:
        self._context = context
        self._jobs = Jobs(context, backends)
        self._logs = LogKeeper(context)
        self._made: dict[Key, _Made] = {}

    async def reconcile(self, key: Key) -> float | None:
        """One pass; the seconds until the next one, or None to wait for an event."""
        obj = self._context.store.get(Ref(API_VERSION, KIND, key.name, key.namespace))
        if obj is None:
            self._made.pop(key, None)
            return None
        try:
            return await self._pass(key, Writer(self._context, obj))
        except StaleError:
            return 0.0

    async def _pass(self, key: Key, writer: Writer) -> float | None:
        stored = self._view(writer.obj)
        made = self._unwritten(key, stored)
        unit = stored if made is None else self._with(stored, made)
        fact = await self._look(unit)
        while True:
            decision = step(unit, fact, self._context.now())
            if made is not None and self._may_wait(made, decision):
                return pace.COALESCE
            await self._publish(writer, stored, decision)
            self._made.pop(key, None)
            stored = unit = self._view(writer.obj)
            made = None
            fact = await self._act(writer, unit, decision)
            if isinstance(fact, Submitted) and unit.attempt is not None:
                self._made[key] = _Made(unit.uid, unit.attempt.number, fact, self._context.now())
                return pace.COALESCE
            if fact is None and not (self._can_let_go(unit) and not decision.effects):
                return decision.requeue_after

    def _view(self, obj: Object) -> UnitView:
        unit = self._jobs.placed(views.unit_view(obj))
        unit = replace(unit, archives=self._logs.works)
        return replace(unit, noted=self._is_noted(obj)) if unit.ended else unit

    def _is_noted(self, obj: Object) -> bool:
        """Whether the record of the unit's experiment has its end, or nobody keeps one."""
        spec, metadata = obj["spec"], obj["metadata"]
        ref = Ref(API_VERSION, "Experiment", spec.get("experiment", ""), metadata["namespace"])
        owner = self._context.store.get(ref)
        if owner is None or not views.controlled_by(obj, owner["metadata"]["uid"]):
            return True
        return views.deleting(owner) or views.is_noted(owner, views.slot_unit(obj), views.slot(obj))

    @staticmethod
    def _can_let_go(unit: UnitView) -> bool:
        return unit.ended and unit.finalizer and unit.noted

    def _unwritten(self, key: Key, unit: UnitView) -> _Made | None:
        """What is remembered of the unit's current attempt, while its status does not say it."""
        made = self._made.get(key)
        if made is None:
            return None
        attempt = unit.attempt
        if (
            attempt is not None
            and (unit.uid, attempt.number) == (made.uid, made.attempt)
            and attempt.handle is None
            and not unit.ended
        ):
            return made
        del self._made[key]
        return None

    def _with(self, unit: UnitView, made: _Made) -> UnitView:
        return replace(unit, status=step(unit, made.fact, self._context.now()).status)

    def _may_wait(self, made: _Made, decision: UnitDecision) -> bool:
        """Whether the write may take with it what happens until a little later."""
        return (
            timedelta() <= self._context.now() - made.at < _SHORT
            and decision.status.phase in (UnitPhase.SUBMITTING, UnitPhase.WAITING)
            and not decision.effects
        )

    async def _publish(self, writer: Writer, stored: UnitView, decision: UnitDecision) -> None:
        # What has ended has ended for good: old news about it cannot mislead. And a finalizer goes
        # on by a patch that fails on any other version of the object.
        acts = any(not isinstance(each, _SAFE) for each in decision.effects)
        self._context.point(Point.UNIT_STATUS_BEFORE)
        await writer.publish(stored.status, decision.status, acts=acts)
        self._context.point(Point.UNIT_STATUS_AFTER)

    async def _look(self, unit: UnitView) -> Fact:
        kept = self._logs.answer(unit)
        if kept is not None:
            return kept
        for attempt in lost_attempts(unit):
            seen = await self._jobs.observe(unit, attempt)
            if tells_of_lost(attempt, seen):
                return seen
        if unit.attempt is not None:
            if needs_observation(unit):
                return await self._jobs.observe(unit, unit.attempt)
            return None
        if unit.ended:
            return None
        try:
            check.work(unit.spec, "spec")
            check.code(unit.spec.code)
            check.unit_code(unit.spec.code)
            check.attempt_references(unit.spec)
        except check.InvalidSpecError as error:
            return Rejected(error.reason, str(error))
        return None

    async def _act(self, writer: Writer, unit: UnitView, decision: UnitDecision) -> Fact:
        """Runs the effects in order; a submit ends the pass with the fact that it brought."""
        for effect in decision.effects:
            match effect:
                case effects.AddFinalizer():
                    self._context.point(Point.UNIT_FINALIZER_BEFORE)
                    await writer.add_finalizer()
                    self._context.point(Point.UNIT_FINALIZER_AFTER)
                case effects.ReleaseFinalizer():
                    self._context.point(Point.UNIT_FINALIZER_BEFORE)
                    await writer.release_finalizer()
                    self._context.point(Point.UNIT_FINALIZER_AFTER)
                case effects.Submit():
                    return await self._jobs.submit(unit, effect.attempt)
                case effects.CancelJob():
                    await self._jobs.cancel(unit, effect.attempt)
                case effects.SuspendJob():
                    await self._jobs.suspend(unit, effect.attempt)
                case effects.ResumeJob():
                    await self._jobs.resume(unit, effect.attempt)
                case effects.ArchiveLogs():
                    self._logs.ask(unit, effect.attempt)
        return None
