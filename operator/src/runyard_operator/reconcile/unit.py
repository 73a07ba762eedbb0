"""Reconciles one ExecutionUnit: look, decide, write the status, then act."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from runyard.api.constants import API_VERSION, LABEL_EXPERIMENT, LABEL_TASK
from runyard_operator.backends.base import (
    Backend,
    BackendError,
    Refused,
    Stalled,
    Target,
)
from runyard_operator.context import Context
from runyard_operator.engine import check, effects, reasons
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
from runyard_operator.kube.resources import Ref
from runyard_operator.queue import Key
from runyard_operator.reconcile import manifests, views
from runyard_operator.reconcile.writer import StaleError, Writer

logger = logging.getLogger(__name__)

KIND = "ExecutionUnit"


class UnitReconciler:
    """Brings units forward, one pass at a time; it remembers nothing between passes."""

    def __init__(self, context: Context, backends: Mapping[str, Backend]) -> None:
        self._context = context
        self._backends = backends

    async def reconcile(self, key: Key) -> float | None:
        """One pass; the seconds until the next one, or None to wait for an event."""
        obj = self._context.store.get(Ref(API_VERSION, KIND, key.name, key.namespace))
        if obj is None:
            return None
        try:
            return await self._pass(Writer(self._context, obj), views.unit_view(obj))
        except StaleError:
            return 0.0

    async def _pass(self, writer: Writer, unit: UnitView) -> float | None:
        fact = await self._look(unit)
        while True:
            decision = step(unit, fact, self._context.now())
            await writer.publish(unit.status, decision.status, acts=bool(decision.effects))
            unit = views.unit_view(writer.obj)
            fact = await self._act(writer, unit, decision)
            if fact is None:
                return decision.requeue_after

    async def _look(self, unit: UnitView) -> Fact:
        if needs_observation(unit) and unit.attempt is not None:
            return await self._backend(unit).observe(self._target(unit), unit.attempt.handle)
        try:
            check.work(unit.spec, "spec")
            check.code(unit.spec.code)
        except check.InvalidSpecError as error:
            return Rejected(error.reason, str(error))
        return None

    async def _act(self, writer: Writer, unit: UnitView, decision: UnitDecision) -> Fact:
        """Runs the effects in order; a submit ends the pass with the fact that it brought."""
        for effect in decision.effects:
            match effect:
                case effects.AddFinalizer():
                    await writer.add_finalizer()
                case effects.ReleaseFinalizer():
                    await writer.release_finalizer()
                case effects.Submit():
                    return await self._submit(unit)
                case effects.CancelJob():
                    await self._cancel(unit)
        return None

    async def _submit(self, unit: UnitView) -> Fact:
        backend = self._backend(unit)
        try:
            handle, digest = await backend.submit(self._target(unit))
        except BackendError as error:
            self._context.metrics.submission(backend.kind, error.reason)
            return SubmitFailed(
                error.reason,
                error.message,
                final=isinstance(error, Refused),
                stalled=isinstance(error, Stalled),
            )
        self._context.metrics.submission(backend.kind, reasons.SUBMITTED)
        return Submitted(handle, digest)

    async def _cancel(self, unit: UnitView) -> None:
        handle = unit.attempt.handle if unit.attempt else None
        try:
            await self._backend(unit).cancel(self._target(unit), handle)
        except BackendError as error:
            # The next pass looks again and asks again: Cancelling lasts until it is confirmed.
            logger.warning("The job could not be cancelled yet: %s", error.message)

    def _backend(self, unit: UnitView) -> Backend:
        block = next(name for name in self._backends if name in unit.spec.executor.to_dict())
        return self._backends[block]

    def _target(self, unit: UnitView) -> Target:
        attempt = unit.attempt
        if attempt is None:
            raise ValueError(f"unit {unit.name} has no attempt to act for")
        labels = {LABEL_EXPERIMENT: unit.spec.experiment, LABEL_TASK: unit.spec.task}
        meta = {"metadata": {"name": unit.name, "uid": unit.uid}}
        return Target(
            namespace=unit.namespace,
            name=unit.name,
            uid=unit.uid,
            spec=unit.spec,
            attempt=attempt.number,
            key=attempt.key,
            owner=manifests.owner({"apiVersion": API_VERSION, "kind": KIND, **meta}),
            labels={name: value for name, value in labels.items() if value},
        )
