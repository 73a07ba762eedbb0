"""The operator is killed at every named point of every story: nothing is doubled, lost or left."""

from __future__ import annotations

from pathlib import Path

import pytest

from runyard_operator.points import Point
from tests.support.crash import table
from tests.support.crash.runs import Rules, outcomes, total
from tests.support.crash.stories import STORIES
from tests.support.crash.weakened import WEAKENED, weakened
from tests.support.crash.world import Count, Story, World

PAGE = Path(__file__).parents[3] / "docs" / "crash-points.md"


@pytest.mark.parametrize("slow", [False, True], ids=["unique names", "slow"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_undisturbed_the_story_ends_as_it_says(story: Story, slow: bool) -> None:
    """What a run with deaths is held against."""
    assert World(story, slow=slow).run() == Count(runs=1)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_no_death_doubles_loses_or_orphans_anything(story: Story) -> None:
    """Each point, at its first times, once and twice in a row, alone and with a bad line."""
    runs = {
        what: count
        for (_, name), found in outcomes().items()
        if name == story.name
        for what, count in found.items()
    }
    assert {what: count for what, count in runs.items() if count != Count(runs=1)} == {}


@pytest.mark.parametrize("point", Point)
def test_each_point_is_reached(point: Point) -> None:
    """No point is in the table for nothing: some story dies there."""
    assert total(total(outcomes()[point, each.name].values()) for each in STORIES).runs


@pytest.mark.parametrize("rules", WEAKENED, ids=lambda rules: rules.about)
def test_the_counts_would_tell(rules: Rules) -> None:
    """With one rule switched off, the same deaths double work or leave it behind."""
    count = weakened(rules)
    assert count.double + count.orphan > 0


def test_the_page_is_up_to_date() -> None:
    """The page is what the runs give; `./dev generate` writes it."""
    assert table.render() == PAGE.read_text(encoding="utf-8")
