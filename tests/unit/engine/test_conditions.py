"""Conditions by the Kubernetes API conventions."""

from __future__ import annotations

from runyard_operator.engine import conditions
from runyard_operator.engine.conditions import Want
from tests.unit.engine.builders import LATER, NOW


def test_the_transition_time_moves_with_the_status_only() -> None:
    """A new reason or message of the same status keeps the time of the last change."""
    first = conditions.merge([], [Want("Running", "True", "A", "a")], generation=1, now=NOW)
    second = conditions.merge(first, [Want("Running", "True", "B", "b")], generation=2, now=LATER)
    third = conditions.merge(second, [Want("Running", "False", "C")], generation=2, now=LATER)
    assert [each[0].last_transition_time for each in (first, second, third)] == [NOW, NOW, LATER]
    assert (second[0].reason, second[0].message, second[0].observed_generation) == ("B", "b", 2)


def test_what_is_not_mentioned_stays_with_its_generation() -> None:
    """Order is that of the first mention, so that a repeated write is equal."""
    old = conditions.merge(
        [], [Want("A", "True", "R"), Want("B", "True", "R")], generation=1, now=NOW
    )
    new = conditions.merge(old, [Want("B", "False", "R")], generation=2, now=LATER)
    assert [each.type for each in new] == ["A", "B"]
    assert new[0] == old[0]


def test_messages_are_cut_and_reasons_never_empty() -> None:
    """The API server refuses a condition without reason, and a status must stay bounded."""
    (only,) = conditions.merge([], [Want("A", "True", "", "m" * 5000)], generation=1, now=NOW)
    assert only.reason == "Unknown"
    assert len(only.message) == conditions.MAX_MESSAGE


def test_asking_for_a_condition() -> None:
    """An absent condition is neither found nor true."""
    present = conditions.merge([], [Want("A", "Unknown", "R")], generation=1, now=NOW)
    assert conditions.find(present, "A") == present[0]
    assert conditions.find(present, "B") is None
    assert not conditions.is_true(present, "A")
