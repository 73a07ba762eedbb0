"""Deterministic names: the same task always gets the same object name."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

MAX_LABEL: Final = 63
_HASH_CHARACTERS: Final = 8


def bounded(name: str, limit: int = MAX_LABEL) -> str:
    """`name`, or its head with a hash of the whole when it is longer than `limit`.

    Two long names that share a head still differ, and nothing depends on what else exists.
    """
    if len(name) <= limit:
        return name
    digest = sha256(name.encode()).hexdigest()[:_HASH_CHARACTERS]
    return f"{name[: limit - _HASH_CHARACTERS - 1].rstrip('-')}-{digest}"


def unit_name(experiment: str, task: str, index: int | None = None) -> str:
    """The name of the ExecutionUnit of a task or matrix member, at most 63 characters."""
    member = "" if index is None else f"-{index}"
    return bounded(f"{experiment}-{task}{member}")


def attempt_key(uid: str, attempt: int) -> str:
    """The key of one attempt: unique over time, since a UID is never used again."""
    return f"{uid}-{attempt}"
