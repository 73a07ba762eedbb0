"""Writes one object's status and finalizer, and keeps the cache at least as new as our writes."""

from __future__ import annotations

from runyard.api.base import ApiModel
from runyard_operator.context import Context
from runyard_operator.kube.api import Object
from runyard_operator.kube.errors import Conflict, NotFound
from runyard_operator.kube.resources import Ref
from runyard_operator.reconcile import manifests


class StaleError(Exception):
    """The object has changed since it was read; it is in the cache anew, decide again."""


class Writer:
    """The writes of one reconcile to the object that it is about."""

    def __init__(self, context: Context, obj: Object) -> None:
        self._context = context
        self.obj = obj

    async def status(self, old: ApiModel, new: ApiModel) -> bool:
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
