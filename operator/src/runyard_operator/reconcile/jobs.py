"""What the unit's reconciler asks of backends, for one attempt at a time."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from pydantic.alias_generators import to_snake

from runyard.api.constants import API_VERSION, LABEL_EXPERIMENT, LABEL_MEMBER, LABEL_TASK
from runyard.api.unit import Attempt, Handle
from runyard_operator.backends.base import Backend, BackendError, Refused, Stalled, Target
from runyard_operator.context import Context
from runyard_operator.engine import reasons, references
from runyard_operator.engine.observation import Observation
from runyard_operator.engine.unit import SubmitFailed, Submitted, UnitView
from runyard_operator.points import Point
from runyard_operator.reconcile import manifests

logger = logging.getLogger(__name__)

KIND = "ExecutionUnit"


class Jobs:
    """The jobs of units, each behind the backend of its unit."""

    def __init__(self, context: Context, backends: Mapping[str, Backend]) -> None:
        self._context = context
        self._backends = backends

    def placed(self, unit: UnitView) -> UnitView:
        """The unit with what its backend is like."""
        backend, ray = self._backend(unit), unit.spec.executor.ray
        return replace(
            unit,
            settle_seconds=backend.settle_seconds,
            # What others use as well cannot be given back for a while.
            can_suspend=backend.can_suspend and (ray is None or ray.alone),
            epoch=self._context.epoch(),
        )

    async def observe(self, unit: UnitView, attempt: Attempt) -> Observation:
        """One look at the attempt's job; it tells whose job it is about."""
        target = self._target(unit, attempt)
        seen = await self._backend(unit).observe(target, attempt.handle)
        return replace(seen, key=attempt.key)

    async def submit(self, unit: UnitView, number: int) -> Submitted | SubmitFailed:
        """Makes the attempt's job, or adopts the one that is there."""
        backend = self._backend(unit)
        attempt = _attempt(unit, number)
        work = references.for_attempt(unit.spec, attempt.number, attempt.key)
        target = replace(self._target(unit, attempt), spec=work)
        self._context.point(Point.UNIT_SUBMIT_BEFORE)
        self._context.fence()
        try:
            handle, digest = await backend.submit(target)
        except BackendError as error:
            self._context.metrics.submission(backend.kind, error.reason)
            return SubmitFailed(
                error.reason,
                error.message,
                final=isinstance(error, Refused),
                stalled=isinstance(error, Stalled),
            )
        self._context.point(Point.UNIT_SUBMIT_AFTER)
        self._context.metrics.submission(backend.kind, reasons.SUBMITTED)
        return Submitted(handle, digest)

    async def cancel(self, unit: UnitView, number: int) -> None:
        """Asks for the end of the attempt's job; the next pass sees whether it came."""
        self._context.point(Point.UNIT_CANCEL_BEFORE)
        await self._ask(unit, number, self._backend(unit).cancel)
        self._context.point(Point.UNIT_CANCEL_AFTER)

    async def suspend(self, unit: UnitView, number: int) -> None:
        """Asks the attempt's job to free what it holds."""
        self._context.point(Point.UNIT_SUSPEND_BEFORE)
        await self._ask(unit, number, self._backend(unit).suspend)
        self._context.point(Point.UNIT_SUSPEND_AFTER)

    async def resume(self, unit: UnitView, number: int) -> None:
        """Lets the attempt's suspended job go on."""
        self._context.point(Point.UNIT_RESUME_BEFORE)
        await self._ask(unit, number, self._backend(unit).resume)
        self._context.point(Point.UNIT_RESUME_AFTER)

    async def _ask(
        self,
        unit: UnitView,
        number: int,
        call: Callable[[Target, Handle | None], Awaitable[None]],
    ) -> None:
        attempt = _attempt(unit, number)
        self._context.fence()
        try:
            await call(self._target(unit, attempt), attempt.handle)
        except BackendError as error:
            # The next pass looks, and asks again for as long as the job has not done it.
            logger.warning("The backend did not do as it was asked yet: %s", error.message)

    def _backend(self, unit: UnitView) -> Backend:
        executor = unit.spec.executor
        return next(
            backend
            for block, backend in self._backends.items()
            if getattr(executor, to_snake(block), None) is not None
        )

    def _target(self, unit: UnitView, attempt: Attempt) -> Target:
        member = unit.spec.member
        labels = {
            LABEL_EXPERIMENT: unit.spec.experiment,
            LABEL_TASK: unit.spec.task,
            LABEL_MEMBER: str(member.index) if member is not None else None,
        }
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


def _attempt(unit: UnitView, number: int) -> Attempt:
    return next(each for each in unit.status.attempts if each.number == number)
