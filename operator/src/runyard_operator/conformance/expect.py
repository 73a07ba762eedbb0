"""What the checks say when a backend breaks the contract, and how they wait."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

from runyard.api.unit import Handle
from runyard_operator.backends.base import Target, Unreachable
from runyard_operator.conformance.harness import Harness
from runyard_operator.engine.observation import Observation, State

ENDS: Final = (State.SUCCEEDED, State.FAILED, State.ABSENT)
"""What the operator concludes something final from."""
HERE: Final = (State.WAITING, State.RUNNING)
_PAUSES: Final = 600


class NotConformingError(AssertionError):
    """The backend breaks the contract; the message says how."""


def expect(holds: bool, message: str) -> None:
    if not holds:
        raise NotConformingError(message)


def same(found: object, wanted: object, what: str) -> None:
    expect(found == wanted, f"{what}: {found!r}, not {wanted!r}")


async def becomes(
    harness: Harness, target: Target, handle: Handle | None, *states: State
) -> Observation:
    """Looks until the job is in one of the states."""
    for _ in range(_PAUSES):
        seen = await harness.backend.observe(target, handle)
        if seen.state in states:
            return seen
        await harness.pause()
    raise NotConformingError(f"the job stays {seen.state}, and never becomes {', '.join(states)}")


async def gone(harness: Harness, target: Target, handle: Handle | None) -> None:
    """After a cancel: the job is absent, and really so."""
    await becomes(harness, target, handle, State.ABSENT)
    same(await harness.alive(target), 0, "jobs alive after the cancel")


async def ambiguous(call: Awaitable[object], what: str) -> None:
    try:
        await call
    except Unreachable:
        return
    raise NotConformingError(f"{what} must raise Unreachable when no answer comes")


def contains(found: object, planned: object, path: str) -> None:
    """Whether all that was planned is there; what the place has added does not matter."""
    if isinstance(planned, Mapping):
        expect(isinstance(found, Mapping), f"{path} is {found!r}, planned was {planned!r}")
        assert isinstance(found, Mapping)  # noqa: S101 - for the type checker
        for key, value in planned.items():
            contains(found.get(key), value, f"{path}.{key}")
    elif isinstance(planned, Sequence) and not isinstance(planned, str):
        expect(isinstance(found, Sequence), f"{path} is {found!r}, planned was {planned!r}")
        assert isinstance(found, Sequence)  # noqa: S101 - for the type checker
        same(len(found), len(planned), f"the length of {path}")
        for number, (there, wanted) in enumerate(zip(found, planned, strict=True)):
            contains(there, wanted, f"{path}[{number}]")
    else:
        same(found, planned, path)
