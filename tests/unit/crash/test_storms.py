"""Any mixture of deaths, lost calls and a lying place: RUNYARD_STORMS is how many (60)."""

from __future__ import annotations

import os

import pytest

from tests.support.crash.runs import Rules, total
from tests.support.crash.weakened import WEAKENED
from tests.support.crash.weather import Storm
from tests.support.crash.world import Count

STORMS = int(os.environ.get("RUNYARD_STORMS", "60"))


@pytest.mark.parametrize("seed", range(STORMS))
def test_when_the_storm_is_over_all_is_well(seed: int) -> None:
    """Nothing was doubled, nothing is left, and each task ended as its story says."""
    storm = Storm(seed)
    assert storm.run() == Count(runs=1), (storm.story.name, storm.deaths)


@pytest.mark.parametrize("rules", WEAKENED, ids=lambda rules: rules.about)
def test_a_weakened_operator_is_wrecked(rules: Rules) -> None:
    """With one rule switched off, a few storms double work or leave it behind."""
    storms = [Storm(seed, server=rules.server, backend=rules.backend) for seed in range(20)]
    count = total(each.run() for each in storms)
    assert count.double + count.orphan > 0


def test_storms_are_rough() -> None:
    """They kill and lose enough to prove anything."""
    storms = [Storm(seed) for seed in range(10)]
    for each in storms:
        each.run()
    assert sum(each.deaths for each in storms) > 20
    assert {each.story.name for each in storms} > {"submit"}
