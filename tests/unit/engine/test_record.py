"""The record of every slot in the status: latched, bounded, and enough to go on from."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.api import ExperimentStatus, TaskRecord, UnitPhase
from runyard_operator.engine import record
from runyard_operator.engine.experiment import ExperimentView, SlotUnit, plan
from runyard_operator.engine.slots import Slot
from tests.unit.engine.builders import LATER, accepted, experiment, layout_of, made, task
from tests.unit.engine.rounds import Rounds

MEMBERS = {"parameters": {"n": [str(n) for n in range(4)]}}
PLAIN = experiment(task("a"), task("m", matrix=MEMBERS))
LIMIT = 100_000
"""Bytes of the status of an experiment of ten thousand units, as JSON."""


@given(st.tuples(*[st.sampled_from([".", "+", *record.ENDS])] * 5))
def test_what_is_written_is_read_again(states: tuple[str, ...]) -> None:
    """One character for each slot, in the order of the members."""
    layout = layout_of(PLAIN)
    slots = [slot for place in layout.tasks.values() for slot in place.slots]
    written = record.write(dict(zip(slots, states, strict=True)), layout)
    assert [each.states for each in written] == [states[0], "".join(states[1:])]
    assert record.read(written, layout) == dict(zip(slots, states, strict=True))


def test_what_was_never_written_is_not_made() -> None:
    """Of a task that is not in the record, and of members behind its end."""
    read = record.read([TaskRecord(name="m", states="S+")], layout_of(PLAIN))
    assert "".join(read.values()) == ".S+.."


@pytest.mark.parametrize("phase", UnitPhase)
def test_each_phase_has_its_character(phase: UnitPhase) -> None:
    """An end can be told from every other end."""
    letter = record.letter(phase)
    assert record.ENDS.get(letter) == (phase if phase.terminal else None)


def test_a_new_operator_goes_on_from_the_status_alone() -> None:
    """Nothing else is remembered between two passes."""
    rounds = Rounds(experiment(task("a"), task("m", "a", matrix=MEMBERS), task("z", "m")))
    for _ in range(3):
        rounds.settle()
        text = json.dumps(rounds.view.status.to_dict())
        status = ExperimentStatus.model_validate(json.loads(text))
        rounds.view = replace(rounds.view, status=status)
        rounds.end()
    rounds.settle()
    assert (rounds.phase, rounds.states) == ("Succeeded", {"a": "S", "m": "SSSS", "z": "S"})


def test_the_status_counts_and_names_what_runs() -> None:
    """Counts by phase, progress, and at most ten names in the message."""
    names = [f"t{n:02}" for n in range(12)]
    view = made(
        experiment(*(task(name) for name in names), task("z")),
        **dict.fromkeys(names, UnitPhase.RUNNING),
        z=UnitPhase.SUCCEEDED,
    )
    status = view.status
    assert status.counts is not None
    assert (status.counts.total, status.counts.running, status.counts.succeeded) == (13, 12, 1)
    assert status.progress == "1/13"
    assert status.message == f"running: {', '.join(names[:10])} and 2 more"


def test_the_list_of_failed_tasks_is_bounded_and_stays() -> None:
    """The first ten, in the order of the spec; the counts tell the rest."""
    names = [f"t{n:02}" for n in range(12)]
    tasks = experiment(*(task(name) for name in names), task("z"), failurePolicy="Continue")
    view = made(tasks, **dict.fromkeys(names, UnitPhase.FAILED))
    assert [each.name for each in view.status.failed_tasks] == names[:10]
    assert view.status.counts is not None
    assert view.status.counts.failed == 12
    gone = replace(view, units={})
    assert plan(gone, LATER).status.failed_tasks == view.status.failed_tasks


def huge(ended: UnitPhase, message: str) -> ExperimentView:
    """Ten thousand units in 128 tasks of long names, whose units have ended with that message."""
    names = [
        f"{'long-name-of-a-task-' * 3}{n:03}"[:60].rstrip("-") + f"x{n:02x}" for n in range(127)
    ]
    wide = {"parameters": {"n": [str(n) for n in range(10_000 - len(names))]}}
    tasks = [task("m", matrix=wide), *(task(name) for name in names)]
    view = accepted(experiment(*tasks, failurePolicy="Continue"))
    slots = [slot for place in layout_of(view).tasks.values() for slot in place.slots]
    units: dict[Slot, SlotUnit] = {
        slot: SlotUnit(
            name=f"exp-{number}", uid=str(number), phase=ended, reason="Error", message=message
        )
        for number, slot in enumerate(slots)
    }
    return replace(view, units=units)


@pytest.mark.parametrize(
    "letter", ["x", "é", "\U0001f4a5"], ids=["ascii", "two bytes", "four bytes"]
)
@pytest.mark.parametrize("ended", [UnitPhase.FAILED, UnitPhase.SKIPPED, UnitPhase.RUNNING])
def test_the_status_of_ten_thousand_units_fits(ended: UnitPhase, letter: str) -> None:
    """T11: also with the longest messages in both lists, and with conditions of every kind."""
    view = huge(ended, letter * 4096)
    status = plan(view, LATER).status
    assert status.counts is not None
    assert status.counts.total == 10_000
    size = len(json.dumps(status.to_dict(), ensure_ascii=False, default=str).encode())
    assert size < LIMIT
    assert sum(len(each.states) for each in status.tasks) == 10_000
