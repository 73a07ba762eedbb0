"""Writes one object's status and finalizer, and keeps the cache at least as new as our writes."""

from __future__ import annotations

from typing import Final

from runyard.api.constants import LABEL_EXPERIMENT
from runyard.api.experiment import ExperimentStatus
from runyard.api.unit import UnitStatus
from runyard_operator.context import Context
from runyard_operator.engine import reasons
from runyard_operator.events import EventType
from runyard_operator.kube.api import Object
from runyard_operator.kube.errors import Conflict, NotFound
from runyard_operator.kube.resources import Ref
from runyard_operator.queue import Key
from runyard_operator.reconcile import manifests, views

UNIT: Final = "ExecutionUnit"
Status = ExperimentStatus | UnitStatus


class StaleError(Exception):
    """The object has changed since it was read; it is in the cache anew, decide again."""


class Writer:
    """The writes of one reconcile to the object that it is about."""

    def __init__(self, context: Context, obj: Object) -> None:
        self._context = context
        self.obj = obj

    async def status(self, old: Status, new: Status) -> bool:
        """Writes the status if it differs; whether it did.

        Raises:
            StaleError: the object is not the one that was read.
        """
        if old == new or old.to_dict() == new.to_dict():
            return False
        manifest = manifests.status(self.obj, new)
        try:
            stored = await self._context.kube.apply(
                manifest, manager=manifests.STATUS_MANAGER, subresource="status"
            )
        except (Conflict, NotFound) as error:
            raise await self._stale() from error
        self._remember(stored)
        return True

    async def publish(self, old: Status, new: Status, *, acts: bool) -> None:
        """Writes the status and tells of a new phase; nothing may act before this returns.

        `acts` says that effects follow: where nothing was written, the object is confirmed first.

        Raises:
            StaleError: the object is not the one that was read.
        """
        if not await self.status(old, new):
            if acts:
                await self.confirm()
        elif new.phase is not None and new.phase is not old.phase:
            await self._tell(str(new.phase), new.reason, new.message)

    async def _tell(self, phase: str, reason: str | None, message: str | None) -> None:
        """Counts a phase that was just written, and posts an Event where people should look.

        An Event is an API write of its own: the phases of a unit that fares well are in its status.
        """
        self._context.metrics.transition(self.obj["kind"], phase, reason or reasons.NONE)
        type_: EventType = "Warning" if phase in ("Failed", "Cancelled") else "Normal"
        if type_ == "Normal" and self.obj["kind"] == UNIT:
            return
        text = ": ".join(each for each in (reason, message) if each)
        await self._context.emit(self.obj, type_=type_, reason=phase, message=text)

    async def confirm(self) -> None:
        """Makes sure that what was read is what is stored, where no write has shown it yet.

        A decision that changes no status is about to act; on old news it might make again what
        somebody has deleted.

        Raises:
            StaleError: the object is not the one that was read.
        """
        ref = Ref.of(self.obj)
        stored = await refresh(self._context, ref)
        version = self.obj["metadata"]["resourceVersion"]
        if stored is None or stored["metadata"]["resourceVersion"] != version:
            raise StaleError(f"{ref} has changed meanwhile")

    async def add_finalizer(self) -> None:
        """Puts our finalizer on.

        Raises:
            StaleError: the object is not the one that was read.
        """
        await self._patch(manifests.add_finalizer(self.obj))
        self._wake()

    async def release_finalizer(self) -> None:
        """Takes our finalizer off; the object may vanish with it.

        Raises:
            StaleError: the object is not the one that was read.
        """
        await self._patch(manifests.release_finalizer(self.obj))

    def _wake(self) -> None:
        metadata = self.obj["metadata"]
        self._context.queue.add(Key(self.obj["kind"], metadata["namespace"], metadata["name"]))

    async def _patch(self, operations: manifests.Patch) -> None:
        try:
            stored = await self._context.kube.json_patch(Ref.of(self.obj), operations)
        except (Conflict, NotFound) as error:
            raise await self._stale() from error
        self._remember(stored)

    def _remember(self, stored: Object) -> None:
        before, self.obj = self.obj, stored
        if stored["kind"] != UNIT:
            self._context.store.put(stored)
            return
        # The pass goes on with what it has written; only the experiment has to be told, and the
        # echo of the watch would tell nothing new.
        self._context.store.wrote(stored)
        metadata = stored["metadata"]
        experiment = metadata.get("labels", {}).get(LABEL_EXPERIMENT)
        if experiment and views.slot_unit(before) != views.slot_unit(stored):
            self._context.queue.add(Key("Experiment", metadata["namespace"], experiment))

    async def _stale(self) -> StaleError:
        ref = Ref.of(self.obj)
        await refresh(self._context, ref)
        return StaleError(f"{ref} has changed meanwhile")


async def refresh(context: Context, ref: Ref) -> Object | None:
    """Reads the object from the API server into the cache; None when it is surely gone."""
    found = await context.kube.get(ref)
    if found is None:
        context.store.remove(ref)
    else:
        context.store.put(found)
    return found
