"""Units that end without a job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runyard.api import OutputValue, UnitPhase
from runyard_operator.engine.unit import Rejected, needs_observation, step
from tests.unit.engine.builders import LATER, NOW, after, condition, unit

EARLIER = {
    "experiment": "first",
    "unit": "first-a",
    "uid": "u0",
    "outputs": [{"name": "rows", "value": "7"}],
}


def test_an_adopted_unit_has_the_result_of_the_earlier_one() -> None:
    """No attempt, no job; the outputs are there for whoever needs them."""
    view = after(unit(adopted=EARLIER, outputs=[{"name": "rows"}]), None)
    assert (view.status.phase, view.status.reason) == (UnitPhase.SUCCEEDED, "Adopted")
    assert view.status.outputs == [OutputValue(name="rows", value="7")]
    assert view.status.attempts == []
    assert view.status.completion_time == NOW
    assert "first-a" in condition(view, "Succeeded").message
    assert not needs_observation(view)


def test_what_is_adopted_is_not_checked_again() -> None:
    """It has run already."""
    decision = step(unit(adopted=EARLIER), Rejected("InvalidSpec", "no image"), NOW)
    assert decision.status.phase is UnitPhase.SUCCEEDED


@pytest.mark.parametrize(
    ("reason", "phase"),
    [
        ("InputsTooLarge", UnitPhase.FAILED),
        ("DependencyNotMet", UnitPhase.SKIPPED),
        ("FailFast", UnitPhase.SKIPPED),
        ("CancelRequested", UnitPhase.SKIPPED),
        ("AnythingElse", UnitPhase.SKIPPED),
    ],
)
def test_a_skip_ends_the_unit_by_its_reason(reason: str, phase: UnitPhase) -> None:
    """Inputs that do not fit are a failure, which others may wait for."""
    view = after(unit(skip={"reason": reason, "message": "why"}), None)
    assert (view.status.phase, view.status.reason, view.status.message) == (phase, reason, "why")
    assert view.status.attempts == []


@pytest.mark.parametrize("spec", [{"adopted": EARLIER}, {"skip": {"reason": "FailFast"}}], ids=str)
def test_what_never_runs_needs_no_finalizer(spec: dict[str, Any]) -> None:
    """It ends without one, and nothing is taken off."""
    decision = step(unit(finalizer=False, **spec), None, NOW)
    assert decision.effects == ()
    assert decision.status.phase is not None
    assert decision.status.phase.terminal
    ended = replace(unit(finalizer=False, **spec), status=decision.status)
    assert step(ended, None, LATER).effects == ()
