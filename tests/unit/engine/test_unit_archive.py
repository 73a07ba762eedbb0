"""Keeping logs: asked for at the end of each attempt, written down, and never in the way."""

from __future__ import annotations

from dataclasses import replace

from runyard.api import UnitPhase
from runyard.api.unit import LogArchive
from runyard_operator.engine import effects
from runyard_operator.engine.observation import State
from runyard_operator.engine.unit import Archived, Submitted, UnitView, step
from tests.unit.engine.builders import JOB, LATER, NOW, after, seen, unit

KEPT = LogArchive(location="store:ns/u1/1", size_bytes=7)
RETRY = {"limit": 1, "backoff": {"seconds": 60}}


def submitted(**more: object) -> UnitView:
    """A unit with a job, under an operator that keeps logs."""
    view = replace(unit(**more), archives=True)
    return after(view, None, Submitted(JOB, "sha256:0"))


def wanted(view: UnitView) -> list[int]:
    """The attempts whose logs the next pass asks for."""
    found = step(view, None, NOW).effects
    return [each.attempt for each in found if isinstance(each, effects.ArchiveLogs)]


def test_the_logs_of_an_end_are_kept() -> None:
    """Asked for until they are, also when the unit has let go of its finalizer."""
    view = after(submitted(), seen(State.SUCCEEDED))
    assert view.ended
    assert wanted(view) == [1]
    assert wanted(replace(view, finalizer=False)) == [1]
    told = after(view, Archived(1, KEPT))
    assert told.status.attempts[0].log == KEPT
    assert wanted(told) == []
    assert told.status.phase is UnitPhase.SUCCEEDED


def test_the_logs_of_a_failed_attempt_are_kept_before_the_next() -> None:
    """The backoff is not longer for it, and the record of the first stays with the second."""
    view = after(submitted(retry=RETRY), seen(State.FAILED))
    assert wanted(view) == [1]
    view = after(view, Archived(1, KEPT))
    assert wanted(view) == []
    again = after(view, None, now=LATER)
    assert [each.log for each in again.status.attempts] == [KEPT, None]


def test_a_late_answer_goes_to_its_own_attempt() -> None:
    """The second attempt runs already."""
    view = after(submitted(retry=RETRY), seen(State.FAILED))
    view = after(view, None, now=LATER)
    view = after(view, Archived(1, KEPT), now=LATER)
    assert [each.log for each in view.status.attempts] == [KEPT, None]
    assert view.status.phase is UnitPhase.SUBMITTING


def test_what_is_written_is_not_written_again() -> None:
    """The first word stands."""
    view = after(submitted(), seen(State.SUCCEEDED), Archived(1, KEPT))
    again = after(view, Archived(1, LogArchive(location="elsewhere")))
    assert again.status == view.status


def test_nothing_is_asked_where_nothing_is_kept() -> None:
    """Not by an operator without an archive, not without a job, not of what is being deleted."""
    view = after(submitted(), seen(State.SUCCEEDED))
    assert wanted(replace(view, archives=False)) == []
    assert wanted(replace(view, deleting=True)) == []
    never = after(replace(unit(cancel=True), archives=True), None)
    assert never.ended
    assert wanted(never) == []
