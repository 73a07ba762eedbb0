"""The page of states: as the engine is now, and true to what a state machine must be."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from runyard.api import TERMINAL_PHASES, ExperimentPhase, UnitPhase
from runyard_operator.docs import experiments, generate, page
from runyard_operator.docs.constants import documented
from runyard_operator.docs.transitions import BIRTH, Cause, Step, Told, Transition, gathered
from runyard_operator.engine import conditions, reasons

ROOT = Path(__file__).parents[3]
SOURCES = [*(ROOT / "operator" / "src").rglob("*.py")]


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """What the generator gives now."""
    return generate.files()


@pytest.fixture(scope="module")
def units() -> list[Transition]:
    """The transitions of a unit."""
    return page.transitions_of_units()


def edges(transitions: list[Transition]) -> set[tuple[str, str]]:
    """The pairs of phases."""
    return {(each.before, each.after) for each in transitions}


def test_pages_are_up_to_date(files: dict[str, str]) -> None:
    """The files are what the engine gives; `./dev generate` writes them."""
    for name, text in files.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, name


def test_every_phase_of_a_unit_is_reached(units: list[Transition]) -> None:
    """And no end is ever left."""
    assert {after for _, after in edges(units)} == {*UnitPhase}
    assert {before for before, _ in edges(units)}.isdisjoint(TERMINAL_PHASES)


def test_a_job_follows_only_a_written_intent(units: list[Transition]) -> None:
    """Nothing runs or ends well that was not Submitting before, but for an adopted result."""
    by_birth = {after for before, after in edges(units) if before == BIRTH}
    assert UnitPhase.RUNNING not in by_birth
    (adopted,) = (x for x in units if (x.before, x.after) == (BIRTH, UnitPhase.SUCCEEDED))
    assert adopted.reason == reasons.ADOPTED


def test_ends_of_experiments_are_never_left() -> None:
    """Every phase is reached, and the ends lead nowhere."""
    found = edges(gathered(experiments.walk(), ExperimentPhase))
    assert {after for _, after in found} == {*ExperimentPhase}
    ends = {ExperimentPhase.SUCCEEDED, ExperimentPhase.FAILED, ExperimentPhase.CANCELLED}
    assert {before for before, _ in found}.isdisjoint(ends)


def test_reasons_of_transitions_are_documented(units: list[Transition]) -> None:
    """What the tables name as a reason has its line in the table of reasons."""
    known = {*documented(reasons), *ExperimentPhase}
    found = gathered(experiments.walk(), ExperimentPhase)
    assert {each.reason for each in [*units, *found]} <= known


@pytest.mark.parametrize("module", [reasons, conditions])
def test_every_word_is_in_the_page_and_in_use(module: ModuleType, files: dict[str, str]) -> None:
    """Each constant has its row, and some other part of the operator uses it."""
    name = module.__name__.rpartition(".")[2]
    used = {
        word
        for path in SOURCES
        for word in re.findall(rf"\b{name}\.([A-Z_]+)\b", path.read_text(encoding="utf-8"))
    }
    for word, value in vars(module).items():
        if word.isupper() and isinstance(value, str):
            assert f"\n| `{value}` | " in files["states.md"]
            assert word in used


def test_a_constant_without_a_meaning_is_an_error(tmp_path: Path) -> None:
    """Whoever adds a word says what it means."""
    path = tmp_path / "words.py"
    path.write_text('from typing import Final\nA: Final = "a"\n"""It is\nA."""\nB: Final = "b"\n')
    module = ModuleType("words")
    module.__file__ = str(path)
    exec(compile(path.read_text(), str(path), "exec"), vars(module))  # noqa: S102
    with pytest.raises(ValueError, match=r"words\.B: say below it"):
        documented(module)
    vars(module)["B"] = 1
    assert documented(module) == {"a": "It is A."}


def test_the_picture_is_whole(files: dict[str, str], units: list[Transition]) -> None:
    """It is well-formed, names every phase once, and has a dot for each way to an end."""
    svg = ElementTree.fromstring(files["images/unit-states.svg"])  # noqa: S314
    space = "{http://www.w3.org/2000/svg}"
    texts = [each.text for each in svg.iter(f"{space}text")]
    assert sorted(filter(None, texts)) == sorted(
        {phase for edge in edges(units) for phase in edge} - {BIRTH}
    )
    dots = [each for each in svg.iter(f"{space}circle") if each.get("r") == "4"]
    to_ends = {edge for edge in edges(units) if edge[1] in TERMINAL_PHASES}
    assert len(dots) >= len(to_ends)


def test_causes_are_told_without_what_makes_no_difference() -> None:
    """A wish that changes nothing, or time, is not named as a cause."""
    told = Told()
    assert told.is_news(Cause("", "fact"), "end")
    assert not told.is_news(Cause("wish", "fact"), "end")
    assert not told.is_news(Cause("", "fact", late=True), "end")
    assert told.is_news(Cause("wish", "other"), "end")
    steps = [
        Step("A", "B", "R", Cause("", "fact", late=True)),
        Step("A", "B", "R", Cause("", "fact")),
        Step(BIRTH, "A", "R", Cause("made", "")),
    ]
    assert gathered(steps, ["A", "B"]) == [
        Transition(BIRTH, "A", "R", frozenset({Cause("made", "")})),
        Transition("A", "B", "R", frozenset({Cause("", "fact")})),
    ]
