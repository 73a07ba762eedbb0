"""The deadline of a whole experiment, and its time to live."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from runyard.api import UnitPhase
from runyard_operator.engine.effects import DeleteSelf
from runyard_operator.engine.experiment import Foreign, plan
from runyard_operator.engine.slots import Slot
from tests.unit.engine.builders import NOW, condition, experiment, task
from tests.unit.engine.rounds import Rounds

PAIR = (task("a"), task("b", "a"))


def late(seconds: float = 60, **spec: Any) -> Rounds:
    """An experiment with a minute to run, after so many seconds."""
    rounds = Rounds(experiment(*PAIR, activeDeadlineSeconds=60, **spec))
    rounds.settle()
    rounds.wait(seconds)
    return rounds


def test_it_ends_what_runs_and_skips_what_waits() -> None:
    """Each tells its reason, and the experiment has Failed with the figure."""
    rounds = late()
    assert rounds.settle() == {"exp-a": "cancel", "b": "skip:DeadlineExceeded"}
    assert (rounds.phase, rounds.view.status.reason) == ("Failed", "DeadlineExceeded")
    assert rounds.view.status.message == "not over after activeDeadlineSeconds = 60"


def test_a_moment_before_it_nothing_happens() -> None:
    """And the experiment asks to be looked at in time."""
    rounds = late(59.5)
    decision = plan(rounds.view, rounds.now)
    assert decision.effects == ()
    assert decision.requeue_after == 0.5


def test_it_counts_from_the_start() -> None:
    """Not from when the operator first looks again."""
    rounds = late(10)
    rounds.settle()
    rounds.wait(50)
    assert rounds.settle() != {}


def test_what_ended_in_time_is_not_undone() -> None:
    """An experiment whose tasks have all ended cannot miss its deadline."""
    rounds = late()
    rounds.end()
    rounds.now = NOW + timedelta(seconds=59)
    rounds.settle()
    rounds.end()
    rounds.wait(3600)
    rounds.settle()
    assert rounds.phase == "Succeeded"


def test_it_stays_passed_when_the_clock_jumps_back() -> None:
    """What was written down is not taken back."""
    rounds = late()
    assert condition(rounds.once(), "DeadlineExceeded").status == "True"
    rounds.now = NOW
    rounds.settle()
    assert (rounds.phase, rounds.view.status.reason) == ("Failed", "DeadlineExceeded")


def test_it_does_not_pass_while_the_experiment_is_suspended() -> None:
    """The whole time counts again from the resume."""
    rounds = late(30)
    rounds.edit(suspend=True)
    rounds.settle()
    rounds.wait(3600)
    assert rounds.settle() == {}
    rounds.edit(suspend=False)
    assert rounds.settle() == {"exp-a": "resume"}
    rounds.wait(59)
    assert rounds.settle() == {}
    rounds.wait(1)
    assert rounds.settle()["exp-a"] == "cancel"


def test_once_passed_a_suspend_does_not_stop_it() -> None:
    """The end goes its way."""
    rounds = late()
    rounds.once()
    rounds.edit(suspend=True)
    rounds.settle()
    assert rounds.phase == "Failed"


def test_a_cancel_after_it_is_a_cancel() -> None:
    """What a person asked for is what is told."""
    rounds = late(cancel=False)
    rounds.edit(cancel=True)
    rounds.settle()
    assert (rounds.phase, rounds.view.status.reason) == ("Cancelled", "CancelRequested")


def test_a_taken_name_does_not_hide_it() -> None:
    """It is written down although the experiment is Stalled."""
    rounds = Rounds(experiment(task("a"), task("x"), activeDeadlineSeconds=60))
    rounds.view = replace(rounds.view, foreign={Slot("x"): Foreign("exp-x")})
    rounds.settle()
    rounds.wait(60)
    decision = rounds.once()
    assert condition(decision, "DeadlineExceeded").status == "True"
    assert condition(decision, "Stalled").reason == "NameConflict"


@pytest.mark.parametrize("ttl", [0, 3600])
def test_a_time_to_live_begins_at_the_end(ttl: int) -> None:
    """The experiment is deleted when it is over, not before."""
    rounds = Rounds(experiment(task("a"), ttlSecondsAfterFinished=ttl))
    rounds.settle()
    rounds.end()
    rounds.settle()
    if ttl:
        rounds.wait(ttl - 1)
        waiting = plan(rounds.view, rounds.now)
        assert (waiting.effects, waiting.requeue_after) == ((), 1.0)
        rounds.wait(1)
    assert plan(rounds.view, rounds.now).effects == (DeleteSelf(),)


def test_without_a_time_to_live_it_stays() -> None:
    """Nothing is asked for any more."""
    rounds = Rounds(experiment(task("a")))
    rounds.settle()
    rounds.end()
    rounds.settle()
    rounds.wait(1e8)
    decision = plan(rounds.view, rounds.now)
    assert (decision.effects, decision.requeue_after) == ((), None)


def test_a_time_to_live_may_be_set_after_the_end() -> None:
    """It counts from the end all the same."""
    rounds = Rounds(experiment(task("a")))
    rounds.settle()
    rounds.end(UnitPhase.FAILED)
    rounds.settle()
    rounds.wait(100)
    rounds.edit(ttlSecondsAfterFinished=60)
    assert DeleteSelf() in plan(rounds.view, rounds.now).effects
