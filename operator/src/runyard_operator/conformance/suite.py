"""The checks that every backend must pass, as plain coroutines: no test runner is needed.

With pytest, parametrize a test over `checks(...)` and await each with a harness of its own; without
it, `report` runs them all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from runyard_operator.conformance import ending, looking, submitting
from runyard_operator.conformance.harness import Harness

Check = Callable[[Harness], Awaitable[None]]
"""Raises `expect.NotConformingError`, which is an AssertionError, or what the backend raised."""

CHECKS: Final[tuple[Check, ...]] = (
    submitting.plan_is_pure,
    submitting.plan_is_what_is_sent,
    submitting.submit_twice,
    submitting.submit_after_lost_answer,
    submitting.submit_after_lost_request,
    submitting.submit_after_late_arrival,
    submitting.found_after_restart,
    looking.life_is_told,
    looking.failure_is_told,
    looking.unknown_is_absent,
    looking.purged_after_end,
    looking.never_seen_state,
    looking.unreachable_is_unknown,
    looking.foreign_job_is_left_alone,
    looking.attempts_are_apart,
    ending.cancel_twice,
    ending.cancel_after_lost_answer,
    ending.cancel_with_lost_answer,
    ending.cancel_during_submit,
)
SUSPEND_CHECKS: Final[tuple[Check, ...]] = (
    ending.suspend_and_resume,
    ending.cancel_while_suspended,
    ending.suspend_of_unknown,
)


def checks(*, can_suspend: bool) -> tuple[Check, ...]:
    """The checks for a backend that can suspend jobs, or cannot."""
    return CHECKS + SUSPEND_CHECKS if can_suspend else CHECKS


async def report(make: Callable[[], Awaitable[Harness]]) -> dict[str, str]:
    """Runs all checks that apply, each on a harness of its own: by name, "" or what is wrong."""
    can_suspend = (await make()).backend.can_suspend
    results = {}
    for check in checks(can_suspend=can_suspend):
        name = getattr(check, "__name__", str(check))
        try:
            await check(await make())
        except Exception as error:  # whatever a backend raises against its contract is a finding
            results[name] = f"{type(error).__name__}: {error}"
        else:
            results[name] = ""
    return results
