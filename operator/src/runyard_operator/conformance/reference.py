"""The smallest backend that keeps the whole contract: read it before you write one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Final

from runyard.api.policy import FailureClass
from runyard.api.unit import Handle
from runyard_operator.backends.base import ForeignObject, Plan, Target, Unreachable
from runyard_operator.conformance import words
from runyard_operator.conformance.place import Place
from runyard_operator.conformance.words import Job, Request, Taken
from runyard_operator.engine import reasons
from runyard_operator.engine.observation import Observation, State
from runyard_operator.points import Point

_STATES: Final = {
    words.WAITING: State.WAITING,
    words.RUNNING: State.RUNNING,
    words.SUSPENDED: State.SUSPENDED,
    words.SUCCEEDED: State.SUCCEEDED,
    words.FAILED: State.FAILED,
    words.STOPPING: State.TERMINATING,
}
"""All that is understood. Any other word is UNKNOWN: a new one is no success and no failure."""


class ReferenceBackend:
    """See `backends.base.Backend`. It keeps nothing in memory: the key finds everything again.

    Args:
        place: where the jobs are.
        kind: the executor block that it stands for.
        settle_seconds: see the contract; at least the place's lag and delay.
        point: is told of the moments at which the place knows more than the operator.
    """

    can_suspend = True

    def __init__(
        self,
        place: Place,
        *,
        kind: str = "job",
        settle_seconds: float = 0.0,
        point: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.kind = kind
        self.settle_seconds = settle_seconds
        self._place = place
        self._point = point

    async def plan(self, target: Target) -> Plan:
        """See `backends.base.Backend`."""
        job = {
            "apiVersion": "reference/v1",
            "kind": "Job",
            "metadata": {"name": name_of(target), "key": target.key, "unit": target.uid},
            "spec": target.spec.to_dict(),
        }
        text = json.dumps([job], sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Plan(objects=(job,), digest=f"sha256:{digest}")

    async def submit(self, target: Target) -> tuple[Handle, str]:
        """See `backends.base.Backend`."""
        plan = await self.plan(target)
        found = self._find(target) or self._make(target, plan)
        return found.handle, plan.digest

    async def observe(self, target: Target, handle: Handle | None) -> Observation:
        """See `backends.base.Backend`."""
        try:
            job = self._find(target)
        except Unreachable as error:
            return Observation(
                state=State.UNKNOWN, handle=handle, reason=error.reason, message=error.message
            )
        if job is None:
            return Observation(state=State.ABSENT, handle=handle)
        state = _STATES.get(job.state, State.UNKNOWN)
        return Observation(
            state=state,
            handle=job.handle,
            message=f"the place says {job.state}",
            exit_code={State.SUCCEEDED: 0, State.FAILED: 1}.get(state),
            failure_class=FailureClass.ERROR if state is State.FAILED else None,
        )

    async def cancel(self, target: Target, handle: Handle | None) -> None:
        """See `backends.base.Backend`."""
        # All that have the key: should there ever be two, neither is left behind.
        for job in self._place.find(target.key):
            self._place.stop(job.handle.uid)
            self._point(Point.BACKEND_CANCEL_SENT)

    async def suspend(self, target: Target, handle: Handle | None) -> None:
        """See `backends.base.Backend`."""
        job = self._find(target)
        if job is not None:
            self._place.hold(job.handle.uid)

    async def resume(self, target: Target, handle: Handle | None) -> None:
        """See `backends.base.Backend`."""
        job = self._find(target)
        if job is not None and job.state == words.SUSPENDED:
            self._place.release(job.handle.uid)

    def _find(self, target: Target) -> Job | None:
        return next(iter(self._place.find(target.key)), None)

    def _make(self, target: Target, plan: Plan) -> Job:
        name = name_of(target)
        try:
            job = self._place.submit(Request(target.key, name, target.uid, plan.objects))
        except Taken:
            there = self._place.named(name)
            if there is None:
                raise Unreachable(
                    reasons.UNREACHABLE, f"{name} was there and is gone: asking again"
                ) from None
            if there.key != target.key:
                raise ForeignObject(
                    reasons.NAME_CONFLICT, f"{name} exists and was not made for this unit"
                ) from None
            job = there
        self._point(Point.BACKEND_SUBMIT_SENT)
        return job


def name_of(target: Target) -> str:
    """The name that the attempt's job has at the place."""
    return f"{target.namespace}/{target.name}-{target.attempt}"
