"""Reconciles one Experiment: gather its units, decide, write the status, then act."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from runyard.api.code import Code
from runyard.api.constants import API_VERSION
from runyard_operator.backends.base import Backend, Unreachable
from runyard_operator.context import Context
from runyard_operator.engine import effects
from runyard_operator.engine.experiment import (
    ExperimentDecision,
    ExperimentView,
    Fact,
    Planned,
    making,
    plan,
)
from runyard_operator.kube.api import Object
from runyard_operator.kube.errors import AlreadyExists, Conflict, NotFound, Unavailable
from runyard_operator.kube.resources import Ref
from runyard_operator.points import Point
from runyard_operator.queue import Key
from runyard_operator.reconcile import code, manifests, views
from runyard_operator.reconcile.gathering import RAY_CLUSTER, UNIT, Gatherer
from runyard_operator.reconcile.planning import Planner
from runyard_operator.reconcile.staging import Stager
from runyard_operator.reconcile.writer import StaleError, Writer, refresh

KIND: Final = "Experiment"
SOFT: Final = timedelta(seconds=2)
"""How long a status that only counts on may wait for what else happens."""
AT_ONCE: Final = 16
"""Units that are created at the same time."""


class ExperimentReconciler:
    """Brings experiments forward, one pass at a time.

    Between passes it remembers only what follows from the specs, and when it last wrote.
    """

    def __init__(self, context: Context, backends: Mapping[str, Backend]) -> None:
        self._context = context
        self._gatherer = Gatherer(context)
        self._planner = Planner(context, backends)
        self._stager = Stager(context)
        self._written: dict[str, datetime] = {}

    async def reconcile(self, key: Key) -> float | None:
        """One pass; the seconds until the next one, or None to wait for an event."""
        obj = self._context.store.get(Ref(API_VERSION, KIND, key.name, key.namespace))
        if obj is None:
            return None
        try:
            return await self._pass(obj)
        except StaleError:
            return 0.0

    async def _pass(self, obj: Object) -> float | None:
        view = await self._gatherer.view(obj)
        writer = Writer(self._context, obj)
        fact: Fact = None
        while True:
            decision = plan(view, self._context.now(), fact)
            if decision.verify:
                view = await self._gatherer.view(writer.obj, live=True)
                decision = plan(view, self._context.now(), fact)
            if decision.soft and self._may_wait(view):
                wait: float | None = SOFT.total_seconds()
            else:
                wait = decision.requeue_after
                await self._publish(writer, view, decision)
            fact = await self._act(writer, view, decision)
            if fact is None:
                return wait
            view = await self._gatherer.view(writer.obj)

    def _may_wait(self, view: ExperimentView) -> bool:
        """Whether the last write is so fresh that this one can take more with it."""
        last = self._written.get(view.uid)
        return last is not None and timedelta(0) <= self._context.now() - last < SOFT

    async def _publish(
        self, writer: Writer, view: ExperimentView, decision: ExperimentDecision
    ) -> None:
        self._context.point(Point.EXPERIMENT_STATUS_BEFORE)
        await writer.publish(view.status, decision.status, acts=bool(decision.effects))
        self._context.point(Point.EXPERIMENT_STATUS_AFTER)
        if decision.status.completion_time is not None:
            self._written.pop(view.uid, None)
        elif decision.status != view.status:
            self._written[view.uid] = self._context.now()
        if decision.status.tasks != view.status.tasks:
            for unit in view.units.values():
                if unit.phase.terminal and unit.finalizer:
                    self._wake(writer.obj, unit.name)

    async def _act(
        self, writer: Writer, view: ExperimentView, decision: ExperimentDecision
    ) -> Fact:
        """Runs the effects in order; what a look at plan or code brings is decided on again."""
        for effect in decision.effects:
            match effect:
                case effects.StageCode():
                    found = await self._stage(writer.obj, view.spec.code)
                    if found is not None:
                        return found
                case effects.RenderPlan():
                    return await self._plan(writer.obj, view)
                case _:
                    await self._carry_out(writer, effect)
        creations = [each for each in decision.effects if isinstance(each, effects.CreateUnit)]
        await self._create(writer.obj, creations)
        return None

    async def _carry_out(self, writer: Writer, effect: effects.ExperimentEffect) -> None:
        """Runs an effect that brings no news; units are created elsewhere, several at once."""
        match effect:
            case effects.AddFinalizer():
                self._context.point(Point.EXPERIMENT_FINALIZER_BEFORE)
                await writer.add_finalizer()
                self._context.point(Point.EXPERIMENT_FINALIZER_AFTER)
            case effects.ReleaseFinalizer():
                self._context.point(Point.EXPERIMENT_FINALIZER_BEFORE)
                await writer.release_finalizer()
                self._context.point(Point.EXPERIMENT_FINALIZER_AFTER)
            case effects.UpdateUnit():
                await self._update(writer.obj, effect)
            case effects.DeleteUnit():
                await self._delete(writer.obj, effect)
            case effects.ReleaseCluster():
                await self._release(effect.unit_uid)
            case effects.DeleteSelf():
                await self._delete_self(writer.obj)

    async def _plan(self, obj: Object, view: ExperimentView) -> Planned:
        layout = view.layout
        if layout is None:
            raise ValueError(f"experiment {view.name} was accepted without a layout")
        maker = making.Maker(view, layout, {})
        specs = [(name, maker.known(place.slots[0])) for name, place in layout.tasks.items()]
        try:
            rendered = await self._planner.render(
                obj,
                specs,
                members={
                    name: place.size
                    for name, place in layout.tasks.items()
                    if place.members is not None
                },
                profiles=view.used_profiles,
            )
        except Unreachable as error:
            raise Unavailable(error.message) from error
        return Planned(rendered.config_map, rendered.digest, rendered.problems)

    async def _stage(self, obj: Object, source: Code | None) -> Fact:
        """Stores inline files, or looks for code that is elsewhere."""
        if source is None:
            return None
        self._context.point(Point.EXPERIMENT_STAGE_BEFORE)
        found: Fact = None
        manifest = code.config_map(source, obj)
        if manifest is not None:
            manager = f"runyard-experiment-{obj['metadata']['uid']}"
            await self._context.kube.apply(manifest, manager=manager)
        else:
            found = await self._stager.look(obj, source)
        self._context.point(Point.EXPERIMENT_STAGE_AFTER)
        return found

    async def _release(self, unit_uid: str) -> None:
        """Deletes the Ray cluster that a unit of the experiment has made."""
        for each in self._context.store.children(unit_uid, RAY_CLUSTER):
            if not views.deleting(each):
                self._context.point(Point.EXPERIMENT_RELEASE_BEFORE)
                with contextlib.suppress(Conflict):  # another one has the name by now
                    await self._context.kube.delete(Ref.of(each), uid=each["metadata"]["uid"])
                self._context.point(Point.EXPERIMENT_RELEASE_AFTER)

    async def _create(self, obj: Object, creations: list[effects.CreateUnit]) -> None:
        """Creates units, a few at the same time; what one failure leaves is made again later."""
        if len(creations) < AT_ONCE:
            for each in creations:
                await self._create_one(obj, each)
            return
        for start in range(0, len(creations), AT_ONCE):
            async with asyncio.TaskGroup() as group:
                for each in creations[start : start + AT_ONCE]:
                    group.create_task(self._create_one(obj, each))

    async def _create_one(self, obj: Object, effect: effects.CreateUnit) -> None:
        manifest = manifests.unit(obj, effect.name, effect.spec)
        self._context.point(Point.EXPERIMENT_CREATE_BEFORE)
        try:
            self._context.store.put(await self._context.kube.create(manifest))
        except AlreadyExists:
            # Ours from before a crash, or somebody else's: the next pass sees which.
            await refresh(self._context, Ref.of(manifest))
            self._context.queue.add(
                Key(KIND, obj["metadata"]["namespace"], obj["metadata"]["name"])
            )
        self._context.point(Point.EXPERIMENT_CREATE_AFTER)
        self._wake(obj, effect.name)

    async def _update(self, obj: Object, effect: effects.UpdateUnit) -> None:
        ref = self._unit_ref(obj, effect.name)
        current = self._context.store.get(ref)
        operations = manifests.unit_patch(current, effect) if current else []
        if not operations:
            return
        self._context.point(Point.EXPERIMENT_UPDATE_BEFORE)
        try:
            self._context.store.put(await self._context.kube.json_patch(ref, operations))
        except (Conflict, NotFound) as error:
            await refresh(self._context, ref)
            raise StaleError(f"{ref} has changed meanwhile") from error
        self._context.point(Point.EXPERIMENT_UPDATE_AFTER)
        self._wake(obj, effect.name)

    async def _delete(self, obj: Object, effect: effects.DeleteUnit) -> None:
        ref = self._unit_ref(obj, effect.name)
        self._context.point(Point.EXPERIMENT_DELETE_BEFORE)
        try:
            await self._context.kube.delete(ref, uid=effect.uid)
        except Conflict:
            await refresh(self._context, ref)
        self._context.point(Point.EXPERIMENT_DELETE_AFTER)

    async def _delete_self(self, obj: Object) -> None:
        ref = Ref.of(obj)
        try:
            await self._context.kube.delete(ref, uid=obj["metadata"]["uid"])
        except Conflict as error:
            await refresh(self._context, ref)
            raise StaleError(f"{ref} is another object by now") from error

    def _unit_ref(self, obj: Object, name: str) -> Ref:
        return Ref(API_VERSION, UNIT, name, obj["metadata"]["namespace"])

    def _wake(self, obj: Object, name: str) -> None:
        self._context.queue.add(Key(UNIT, obj["metadata"]["namespace"], name))
