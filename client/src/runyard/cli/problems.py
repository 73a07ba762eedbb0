"""The tasks that failed, are stuck, or were skipped, with what is known about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from runyard.cli.slots import TERMINAL, Object, Slot


@dataclass(frozen=True, slots=True)
class Problem:
    """A task that failed or is stuck, with what is known about it."""

    task: str
    phase: str
    reason: str
    message: str
    exit_code: int | None = None
    node: str = ""
    log_lines: tuple[str, ...] = ()


def found(slots: Iterable[Slot], listed: Iterable[Object]) -> Iterator[Problem]:
    """The problems of the units, then those that only the experiment's own list names."""
    told = set()
    for slot in slots:
        trouble = _trouble(slot)
        if trouble is not None:
            told.add(slot.name)
            yield _of(slot, trouble)
    for each in listed:
        if each["name"] not in told:
            yield Problem(
                each["name"], "Failed", each.get("reason") or "", each.get("message") or ""
            )


def skipped(slots: Iterable[Slot], listed: Iterable[Object]) -> dict[str, tuple[str, str]]:
    """Reason and message of what was skipped, by name."""
    known = {each["name"]: (each.get("reason") or "", each.get("message") or "") for each in listed}
    for slot in slots:
        if slot.phase == "Skipped" and slot.unit is not None:
            said = slot.status
            known[slot.name] = (said.get("reason") or "", said.get("message") or "")
    return known


def _trouble(slot: Slot) -> Mapping[str, object] | None:
    """What says why a slot failed, or the condition that keeps it from going on; else None."""
    if slot.unit is None:
        return None
    if slot.phase == "Failed":
        return slot.status
    if slot.phase in TERMINAL:
        return None
    for condition in slot.status.get("conditions") or []:
        if (condition["type"], condition["status"]) in (
            ("Stalled", "True"),
            ("BackendReachable", "False"),
        ):
            return dict(condition)
    return None


def _of(slot: Slot, trouble: Mapping[str, object]) -> Problem:
    attempt = (slot.status.get("attempts") or [{}])[-1]
    return Problem(
        task=slot.name,
        phase=slot.phase,
        reason=str(trouble.get("reason") or ""),
        message=str(trouble.get("message") or attempt.get("message") or ""),
        exit_code=attempt.get("exitCode"),
        node=attempt.get("node") or "",
        log_lines=tuple(attempt.get("lastLogLines") or ()),
    )
