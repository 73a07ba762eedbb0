"""What the engines' state machines are found to do: transitions, gathered and told in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

BIRTH = ""
"""The phase of an object that the operator has not looked at yet."""
BACKEND = "backend: "
"""How the names of facts begin that a backend told."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a decision was taken: what a user asked for, what was learnt, whether time went by."""

    wish: str
    fact: str
    late: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What followed from each cause in one state of a walk."""

    outcomes: dict[Cause, object] = field(default_factory=dict)

    def is_news(self, cause: Cause, outcome: object) -> bool:
        """Notes the outcome; whether no part of the cause alone has led to the same."""
        self.outcomes[cause] = outcome
        parts = (
            Cause(wish, fact, late)
            for wish in {cause.wish, ""}
            for fact in {cause.fact, ""}
            for late in {cause.late, False}
        )
        return not any(part != cause and self.outcomes.get(part) == outcome for part in parts)


@dataclass(frozen=True, slots=True)
class Step:
    """One decision that changed the phase."""

    before: str
    after: str
    reason: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class Transition:
    """All decisions that lead from one phase to another, for one reason."""

    before: str
    after: str
    reason: str
    causes: frozenset[Cause]


def gathered(steps: Iterable[Step], order: Iterable[str]) -> list[Transition]:
    """One transition for each two phases and reason, in the order of the phases.

    A wish or the passing of time is left out of the causes where the same fact does without it.
    """
    found: dict[tuple[str, str, str], set[Cause]] = {}
    for step in steps:
        found.setdefault((step.before, step.after, step.reason), set()).add(step.cause)
    rank = {phase: place for place, phase in enumerate([BIRTH, *order])}
    return [
        Transition(
            *edge,
            frozenset(each for each in causes if not _idle(each, causes)),
        )
        for edge, causes in sorted(
            found.items(), key=lambda item: (rank[item[0][0]], rank[item[0][1]], item[0][2])
        )
    ]


def _idle(cause: Cause, others: set[Cause]) -> bool:
    """Whether the wish or the time of a cause makes no difference."""
    less = [replace(cause, late=False)]
    if cause.fact:
        less += [replace(cause, wish=""), Cause("", cause.fact)]
    return any(each != cause and each in others for each in less)
