"""When "there is no such job" is a clear answer: after the backend's time to settle."""

from __future__ import annotations

from datetime import datetime, timedelta

from runyard.api.unit import Attempt
from runyard_operator.engine.unit.view import UnitView


def judge(unit: UnitView, attempt: Attempt, now: datetime) -> tuple[Attempt, float]:
    """The attempt with the time of the first such answer, and the seconds until it counts.

    The first look comes after the last submit, so what counts for one counts for the other. A
    clock that was set back begins the time anew.
    """
    if not unit.settle_seconds:
        return attempt, 0.0
    since = attempt.missing_since
    if since is None or since > now:
        since = now
    left = since + timedelta(seconds=unit.settle_seconds) - now
    noted = attempt.model_copy(update={"missing_since": since})
    return noted, max(left.total_seconds(), 0.0)


def interrupted(attempt: Attempt) -> Attempt:
    """The attempt after a look that brought no answer: an absence before it counts no more."""
    return attempt.model_copy(update={"missing_since": None})
