"""Random deaths, a random line and a place that lies, for any number of seeds."""

from __future__ import annotations

import asyncio
import random

from runyard_operator.backends.base import Stalled
from runyard_operator.conformance.reference import ReferenceBackend
from runyard_operator.conformance.words import Trouble
from runyard_operator.engine import reasons
from tests.support.crash.life import Bomb
from tests.support.crash.stories import STORIES
from tests.support.crash.world import SETTLE, START, Cluster, World
from tests.unit.engine.server import Fault

FAULTS = 12
"""At most so many of each sort; afterwards all must come to an end."""
BAD_LINE = (
    Trouble.NOT_SENT,
    Trouble.ANSWER_LOST,
    Trouble.DIE_BEFORE,
    Trouble.DIE_AFTER,
)


class RandomBomb(Bomb):
    """Kills now and then, at whatever point."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self._left = FAULTS

    def __call__(self, point: str) -> bool:
        super().__call__(point)
        if self._left == 0 or self._rng.random() > 0.08:
            return False
        self._left -= 1
        return True


class Storm(World):
    """A story in which anything may go wrong for a while."""

    def __init__(
        self,
        seed: int,
        *,
        server: type[Cluster] = Cluster,
        backend: type[ReferenceBackend] = ReferenceBackend,
    ) -> None:
        self._rng = random.Random(seed)
        self._left = FAULTS
        slow = self._rng.random() < 0.5
        # What arrives late is survived by who waits for it, and what arrives twice where a name
        # can be taken only once.
        self._bad = (*BAD_LINE, Trouble.DELAYED if slow else Trouble.DOUBLED)
        story = self._rng.choice(STORIES)
        bomb = RandomBomb(self._rng)
        super().__init__(story, bomb, slow=slow, server=server, backend=backend)

    def _next(self, loop: asyncio.AbstractEventLoop) -> bool:
        self._change_place()
        return super()._next(loop)

    def _change_place(self) -> None:
        """The place goes away, hides or wants a human, for the next few things that happen."""
        if self._left == 0:
            self.place.reachable, self.place.mood = True, None
            return
        if self._rng.random() > 0.2:
            return
        self._left -= 1
        self.place.reachable = self._rng.random() > 0.3
        stalled = self._rng.random() < 0.3
        self.place.mood = Stalled(reasons.QUOTA_EXCEEDED, "not now") if stalled else None
        if self._settle and not self.place.hidden_until:
            # With the place's lag and the line's delay this is as long as it may lie.
            now = (self.now - START).total_seconds()
            self.place.hidden_until = now + SETTLE / 10
        if self.server.faults.fault is None:
            self.server.faults.fault = self._rng.choice((Fault.NOT_SENT, Fault.ANSWER_LOST))
            self.server.faults.countdown = self._rng.randrange(6)

    def _trouble(self, call: str) -> Trouble | None:
        if super()._trouble(call) is None and self._left and self._rng.random() < 0.1:
            self._left -= 1
            return self._rng.choice(self._bad)
        return None
