"""What the status keeps of every slot: one character each, never taken back once it is an end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from runyard.api.experiment import TaskRecord
from runyard.api.unit import UnitPhase
from runyard_operator.engine.slots import Layout, Slot

NOT_MADE: Final = "."
MADE: Final = "+"
ENDS: Final[Mapping[str, UnitPhase]] = {
    "S": UnitPhase.SUCCEEDED,
    "F": UnitPhase.FAILED,
    "C": UnitPhase.CANCELLED,
    "K": UnitPhase.SKIPPED,
}
_LETTERS: Final = {phase: letter for letter, phase in ENDS.items()}

States = dict[Slot, str]
"""The character of every slot."""


def read(records: Iterable[TaskRecord], layout: Layout) -> States:
    """The characters that were written; what was not is not made."""
    written = {each.name: each.states for each in records}
    states: States = {}
    for name, task in layout.tasks.items():
        characters = written.get(name, "").ljust(task.size, NOT_MADE)
        states.update(zip(task.slots, characters, strict=False))
    return states


def write(states: Mapping[Slot, str], layout: Layout) -> list[TaskRecord]:
    """The records of all tasks."""
    return [
        TaskRecord(name=name, states="".join(states[slot] for slot in task.slots))
        for name, task in layout.tasks.items()
    ]


def letter(phase: UnitPhase) -> str:
    """The character of a unit that exists."""
    return _LETTERS.get(phase, MADE)
