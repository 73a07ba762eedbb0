"""Writes one object's status and finalizer, and keeps the cache at least as new as our writes."""

from __future__ import annotations

from runyard.api.experiment import ExperimentStatus
from runyard.api.unit import UnitStatus
from runyard_operator.context import Context
from runyard_operator.engine import reasons
from runyard_operator.events import EventType
from runyard_operator.kube.api import Object
from runyard_operator.kube.errors import Conflict, NotFound
from runyard_operator.kube.resources import Ref
from runyard_operator.reconcile import manifests

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
        if old.to_dict() == new.to_dict():
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
        """Counts a phase that was just written, and posts an Event about it."""
        self._context.metrics.transition(self.obj["kind"], phase, reason or reasons.NONE)
        type_: EventType = "Warning" if phase in ("Failed", "Cancelled") else "Normal"
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

    async def release_finalizer(self) -> None:
        """Takes our finalizer off; the object may vanish with it.

        Raises:
            StaleError: the object is not the one that was read.
        """
        await self._patch(manifests.release_finalizer(self.obj))

    async def _patch(self, operations: manifests.Patch) -> None:
        try:
            stored = await self._context.kube.json_patch(Ref.of(self.obj), operations)
        except (Conflict, NotFound) as error:
            raise await self._stale() from error
        self._remember(stored)

    def _remember(self, stored: Object) -> None:
        self.obj = stored
        self._context.store.put(stored)

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
