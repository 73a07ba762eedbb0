"""What the documents say against what the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runyard.api import ExperimentPhase, FailureClass, UnitPhase

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("word", sorted({*UnitPhase, *ExperimentPhase, *FailureClass}))
def test_guide_explains_the_word(word: str) -> None:
    """Each phase and failure class is in the user guide; conditions and reasons are generated."""
    assert f"`{word}`" in (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    """Each relative link of a page leads to something that exists."""
    text = re.sub(r"`[^`]*`", "", page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_each_story_is_tested_where_the_page_says() -> None:
    """All fifteen are there, and each file and name that is given exists."""
    text = (ROOT / "docs" / "stories.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (T\d+) \|.*\| ([^|]+) \|$", text, re.MULTILINE))
    assert list(rows) == [f"T{number}" for number in range(1, 16)]
    for story, cell in rows.items():
        for place in re.findall(r"`([^`]+)`", cell):
            file, _, name = place.partition("::")
            code = (ROOT / file).read_text(encoding="utf-8")
            assert f"def {name}(" in code if name else re.search(rf"\b{story}\b", code), place
