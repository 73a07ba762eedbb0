"""The API reference and its generator."""

from __future__ import annotations

import re
from pathlib import Path

from runyard.api import docs

FILE = Path(__file__).parents[3] / "docs" / "api.md"


def test_reference_is_up_to_date() -> None:
    """The file is what the models give; `./dev generate` writes it."""
    assert docs.render() == FILE.read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    """Each link of the reference has its heading."""
    text = docs.render()
    headings = {each.lower() for each in re.findall(r"^### (\w+)$", text, re.MULTILINE)}
    links = set(re.findall(r"\]\(#(\w+)\)", text))
    assert links
    assert links <= headings


def test_tables_are_whole() -> None:
    """Each row has the four cells of its header, whatever the field's text holds."""
    rows = [line for line in docs.render().splitlines() if line.startswith("| ")]
    assert {line.count(" |") for line in rows} == {4}
