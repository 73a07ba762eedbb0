"""The reference backend and its place, as the suite drives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from runyard.api.unit import UnitSpec
from runyard_operator.backends.base import Manifest, Plan, Target
from runyard_operator.conformance import words
from runyard_operator.conformance.harness import Harness
from runyard_operator.conformance.place import Place
from runyard_operator.conformance.reference import ReferenceBackend, name_of
from runyard_operator.conformance.words import Request, Trouble
from runyard_operator.engine.naming import attempt_key

SETTLE = 30.0
Make = Callable[..., ReferenceBackend]


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class OneTrouble:
    """What the line does to the next call that changes something."""

    trouble: Trouble | None = None

    def __call__(self, call: str) -> Trouble | None:
        if call in ("find", "named"):
            return None
        found, self.trouble = self.trouble, None
        return found


@dataclass
class ReferenceHarness(Harness):
    """With `slow`, the place takes names twice, is late, and does not find what is new."""

    make: Make = ReferenceBackend
    slow: bool = False
    clock: Clock = field(default_factory=Clock)
    next: OneTrouble = field(default_factory=OneTrouble)

    def __post_init__(self) -> None:
        self.settle_seconds = SETTLE if self.slow else 0.0
        self.place = Place(
            clock=self.clock,
            unique_names=not self.slow,
            lag_seconds=SETTLE / 3 if self.slow else 0.0,
            delay_seconds=SETTLE / 2,
            trouble=self.next,
        )
        self.backend = self.new()

    def new(self) -> ReferenceBackend:
        """Another backend on the same place."""
        return self.make(self.place, settle_seconds=self.settle_seconds)

    async def restart(self) -> None:
        self.backend = self.new()

    async def target(self, attempt: int = 1) -> Target:
        spec = {"script": {"inline": "true"}, "executor": {"job": {"image": "x"}}}
        return Target(
            namespace="ns",
            name="unit",
            uid="uid-1",
            spec=UnitSpec.model_validate(spec),
            attempt=attempt,
            key=attempt_key("uid-1", attempt),
            owner={},
        )

    async def settle(self) -> None:
        self.clock.now += self.settle_seconds + 1.0
        self.place.arrive()

    async def pause(self) -> None:
        self.clock.now += 1.0
        self.place.sweep()

    async def lose_request(self) -> None:
        self.next.trouble = Trouble.NOT_SENT

    async def lose_answer(self) -> None:
        self.next.trouble = Trouble.ANSWER_LOST

    async def delay_request(self) -> None:
        self.next.trouble = Trouble.DELAYED

    async def cut(self) -> None:
        self.place.reachable = False

    async def mend(self) -> None:
        self.place.reachable = True

    async def run(self, target: Target) -> None:
        self.place.become(target.key, words.RUNNING)

    async def end(self, target: Target, *, success: bool) -> None:
        self.place.become(target.key, words.SUCCEEDED if success else words.FAILED)

    async def purge(self, target: Target) -> None:
        self.place.purge(target.key)

    async def confuse(self, target: Target) -> None:
        self.place.become(target.key, "REQUEUED_BY_COSMIC_RAY")

    async def take_name(self, target: Target) -> object:
        self.place.add(Request("somebody else's", name_of(target), "", ()))
        return await self.foreign(target)

    async def foreign(self, target: Target) -> object:
        return deepcopy(self.place.find("somebody else's"))

    async def begun(self, target: Target) -> int:
        return self.place.begun[target.key]

    async def alive(self, target: Target) -> int:
        return len(self.place.alive(target.key))

    async def received(self, target: Target, plan: Plan) -> Sequence[Manifest]:
        return [each for job in self.place.alive(target.key) for each in job.objects]
