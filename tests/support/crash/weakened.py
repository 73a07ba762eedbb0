"""The operator with one of its rules switched off, to show that the counts would tell."""

from __future__ import annotations

from runyard.api.unit import Handle
from runyard_operator.backends.base import Target
from runyard_operator.conformance.reference import ReferenceBackend
from runyard_operator.engine.observation import Observation, State
from runyard_operator.points import Point
from tests.support.crash.runs import VARIANTS, Rules, cell, total
from tests.support.crash.stories import STORIES
from tests.support.crash.world import Cluster, Count
from tests.unit.engine.server import Faults, Name, Object, clone


class LateIntent(Cluster):
    """An attempt is stored only once its job has answered: a death before that takes it along."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(faults)
        self._before: dict[Name, Object] = {}

    async def apply(
        self, manifest: Object, *, manager: str, force: bool = True, subresource: str | None = None
    ) -> Object:
        name: Name = (manifest["kind"], manifest["metadata"]["name"])
        before = self.objects.get(name)
        stored = await super().apply(manifest, manager=manager, subresource=subresource)
        attempts = manifest.get("status", {}).get("attempts", [])
        answered = not attempts or "handle" in attempts[-1]
        if answered or "completionTime" in manifest["status"]:
            self._before.pop(name, None)
        elif before is not None:
            self._before.setdefault(name, before)
        return stored

    def died(self) -> None:
        for name, before in self._before.items():
            if name in self.objects:
                self._store(name, {**clone(self.objects[name]), "status": before["status"]})
        self._before.clear()


class WithoutFinalizers(Cluster):
    """Nothing holds a deleted unit back until its job has ended."""

    def remove(self, name: Name) -> None:
        if name[0] == "ExecutionUnit" and name in self.objects:
            self.objects[name] = clone(self.objects[name])
            self.objects[name]["metadata"].pop("finalizers", None)
        super().remove(name)


class Blind(ReferenceBackend):
    """A job whose handle is not known does not exist, it thinks, and makes it."""

    async def observe(self, target: Target, handle: Handle | None) -> Observation:
        if handle is None:
            return Observation(state=State.ABSENT)
        return await super().observe(target, handle)

    async def submit(self, target: Target) -> tuple[Handle, str]:
        plan = await self.plan(target)
        return self._make(target, plan).handle, plan.digest


class Hasty(ReferenceBackend):
    """Takes the first "there is none" for an answer, whatever the place is like."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.settle_seconds = 0.0


WEAKENED = (
    Rules("intent before effect: the attempt is stored before the submit", LateIntent),
    Rules("a finalizer holds the unit until its job has ended", WithoutFinalizers),
    Rules("a look-up by key where the handle is not known", backend=Blind),
    Rules("an absence counts only after `settle_seconds`", backend=Hasty),
)
"""`about` names the rule that is switched off."""


def weakened(rules: Rules) -> Count:
    """The sum over all points and stories, each point at its first time."""
    return total(
        count
        for point in Point
        for story in STORIES
        for _, count in cell(point, story, rules=rules, variants=VARIANTS[1:2], hits=(1,))
    )
