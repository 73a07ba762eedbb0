"""Which deaths are tried, and the counts of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from runyard_operator.conformance.reference import ReferenceBackend
from runyard_operator.conformance.words import Trouble
from runyard_operator.points import Point
from tests.support.crash.life import Bomb
from tests.support.crash.stories import STORIES
from tests.support.crash.world import Cluster, Count, Line, Story, World

HITS = (1, 2, 3)
"""Each point at the first times that it is reached."""


@dataclass(frozen=True)
class Variant:
    """How the operator dies, and what else goes wrong.

    Attributes:
        about: for the table.
        slow: whether the place takes a name twice and finds what is new only after a while.
        twice: whether the next life dies at the same point, too.
        line: what happens to a call to the place.
    """

    about: str
    slow: bool = True
    twice: bool = False
    line: Line | None = None


VARIANTS = (
    Variant("one death, names are unique at the place", slow=False),
    Variant("one death, the place is slow"),
    Variant("two deaths in a row, the place is slow", twice=True),
    Variant(
        "one death, and the answer to the first submit is lost",
        line=Line("submit", 1, Trouble.ANSWER_LOST),
    ),
    Variant(
        "one death, and the first submit arrives after its caller gave up",
        line=Line("submit", 1, Trouble.DELAYED),
    ),
    Variant(
        "two deaths in a row, and the answer to the first cancel is lost",
        twice=True,
        line=Line("stop", 1, Trouble.ANSWER_LOST),
    ),
)


@dataclass(frozen=True)
class Rules:
    """What the operator works with: whole, or with one of its rules switched off."""

    about: str
    server: type[Cluster] = Cluster
    backend: type[ReferenceBackend] = ReferenceBackend


WHOLE = Rules("all rules")
Cell = tuple[Point, str]
"""A point and the name of a story."""


def cell(
    point: Point,
    story: Story,
    *,
    rules: Rules = WHOLE,
    variants: Iterable[Variant] = VARIANTS,
    hits: Iterable[int] = HITS,
) -> Iterator[tuple[str, Count]]:
    """Each run of a story with deaths at a point, by what identifies it."""
    for variant in variants:
        reached = _undisturbed(rules, story.name, variant)[point]
        for hit in hits:
            if hit > reached:
                break
            deaths = frozenset({hit, hit + 1}) if variant.twice else frozenset({hit})
            world = _world(rules, story, variant, Bomb(point, deaths))
            yield f"{story.name}, {point} number {hit}: {variant.about}", world.run()


@cache
def _undisturbed(rules: Rules, story: str, variant: Variant) -> Counter[str]:
    """How often each point is reached when nobody dies."""
    (found,) = (each for each in STORIES if each.name == story)
    bomb = Bomb()
    _world(rules, found, variant, bomb).run()
    return bomb.reached


def _world(rules: Rules, story: Story, variant: Variant, bomb: Bomb) -> World:
    return World(
        story, bomb, variant.line, slow=variant.slow, server=rules.server, backend=rules.backend
    )


@cache
def outcomes() -> dict[Cell, dict[str, Count]]:
    """All runs, by point and story; it takes a minute, once for a process."""
    return {(point, story.name): dict(cell(point, story)) for point in Point for story in STORIES}


def total(counts: Iterable[Count]) -> Count:
    """The sum."""
    return sum(counts, Count())
