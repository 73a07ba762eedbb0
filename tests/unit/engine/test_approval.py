"""Approvals: a task that waits for a person."""

from __future__ import annotations

from typing import Any

from runyard.api import UnitPhase
from tests.unit.engine.builders import condition, experiment, task
from tests.unit.engine.rounds import Rounds

GATED = (task("a"), task("ship", "a", approval={"message": "look at the loss"}), task("b", "ship"))
MATRIX = {"parameters": {"region": ["eu", "us"]}}


def verdict(kind: str = "Approve", name: str = "ship", **more: str) -> list[dict[str, str]]:
    """The list of approvals with one in it."""
    return [{"task": name, "verdict": kind, **more}]


def waiting(*tasks: Any, **spec: Any) -> Rounds:
    """An experiment whose task `ship` waits for approval."""
    rounds = Rounds(experiment(*(tasks or GATED), **spec))
    rounds.settle()
    rounds.end()
    rounds.settle()
    return rounds


def approved(rounds: Rounds) -> tuple[str, str, str]:
    """The condition Approved, as it is written."""
    found = condition(rounds.once(), "Approved")
    return found.status, found.reason, found.message


def test_nothing_is_made_before_the_approval() -> None:
    """The experiment says what it waits for, and goes on when it comes."""
    rounds = waiting()
    assert rounds.said == [{"a": "create"}]
    assert rounds.view.status.message == "waiting for approval: ship"
    assert approved(rounds) == ("False", "AwaitingApproval", "approve ship in spec.approvals")
    rounds.edit(approvals=verdict())
    assert rounds.settle() == {"ship": "create"}
    assert approved(rounds) == ("True", "None", "")


def test_no_condition_tells_of_approvals_that_nobody_asked_for() -> None:
    """Before the edges are met nobody is asked."""
    rounds = Rounds(experiment(*GATED))
    rounds.settle()
    assert "Approved" not in {each.type for each in rounds.view.status.conditions}


def test_an_approval_ahead_of_time_counts_when_the_edges_are_met() -> None:
    """It lets nothing start early."""
    rounds = Rounds(experiment(*GATED, approvals=verdict()))
    assert rounds.settle() == {"a": "create"}
    rounds.end()
    assert rounds.settle() == {"ship": "create"}


def test_an_approval_that_is_taken_back_in_time_does_not_count() -> None:
    """Until the task is made, only what is in the spec now matters."""
    rounds = Rounds(experiment(*GATED, approvals=verdict()))
    rounds.settle()
    rounds.edit(approvals=[])
    rounds.end()
    assert rounds.settle() == {}
    assert rounds.view.status.message == "waiting for approval: ship"


def test_a_verdict_that_changes_after_the_start_changes_nothing() -> None:
    """A task that runs is not ended by a late no: cancel it."""
    rounds = waiting(*GATED, approvals=verdict())
    rounds.edit(approvals=verdict("Reject"))
    assert rounds.settle() == {}
    assert rounds.running() == {"ship"}


def test_a_rejected_task_is_skipped_with_the_words_of_the_approver() -> None:
    """What comes after it is skipped, too; the experiment does not fail."""
    rounds = waiting()
    rounds.edit(approvals=verdict("Reject", message="loss too high"))
    assert rounds.settle() == {"ship": "skip:ApprovalRejected", "b": "skip:DependencyNotMet"}
    skip = rounds.specs["ship"].skip
    assert skip is not None
    assert skip.message == "rejected: loss too high"
    assert rounds.phase == "Succeeded"
    found = next(each for each in rounds.view.status.conditions if each.type == "Approved")
    assert (found.status, found.reason) == ("False", "ApprovalRejected")


def test_one_verdict_is_for_all_members_of_a_matrix() -> None:
    """They are approved or rejected together."""
    tasks = (task("a"), task("ship", "a", approval={}, matrix=MATRIX))
    rounds = waiting(*tasks)
    rounds.edit(approvals=verdict())
    assert rounds.settle() == {"ship[0]": "create", "ship[1]": "create"}
    rejected = waiting(*tasks, approvals=verdict("Reject"))
    assert rejected.states == {"a": "S", "ship": "KK"}
    assert [each.reason for each in rejected.view.status.skipped_tasks] == ["ApprovalRejected"]


def test_an_approval_of_a_task_that_asks_for_none_changes_nothing() -> None:
    """A rejection least of all."""
    rounds = Rounds(experiment(task("a"), approvals=verdict("Reject", "a")))
    assert rounds.settle() == {"a": "create"}


def test_a_task_of_finally_may_wait_for_approval() -> None:
    """The experiment ends when it was given."""
    rounds = waiting(task("a"), **{"finally": [task("ship", approval={}).to_dict()]})
    assert rounds.view.status.message == "waiting for approval: ship"
    rounds.edit(approvals=verdict())
    assert rounds.settle() == {"ship": "create"}


def test_a_cancel_ends_the_waiting() -> None:
    """The condition no longer asks anybody for anything."""
    rounds = waiting()
    rounds.edit(cancel=True)
    rounds.settle()
    assert rounds.phase == "Cancelled"
    found = next(each for each in rounds.view.status.conditions if each.type == "Approved")
    assert (found.status, found.message) == ("False", "no longer needed: ship")


def test_fail_fast_ends_the_waiting() -> None:
    """A task whose approval nobody gives does not keep a failed experiment alive."""
    rounds = Rounds(experiment(task("x"), task("ship", approval={})))
    rounds.settle()
    rounds.end(UnitPhase.FAILED)
    assert rounds.settle() == {"ship": "skip:FailFast"}
    assert rounds.phase == "Failed"
