"""The part of `runyard logs` that turns to the archive, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runyard.cli import slots, view
from runyard.cli.session import Session
from runyard.kube.errors import KubeError
from runyard.logs.archive import Archive
from runyard.logs.find import Choice, Source, of_archive
from runyard.logs.reader import GoneError


class Archived:
    """Finds in the archive what the pods do not have."""

    def __init__(self, session: Session, archive: Archive) -> None:
        self._session = session
        self._archive = archive

    def missing(self, slot: slots.Slot, mine: Sequence[Source], choice: Choice) -> list[Source]:
        """The logs of the task that no pod has; `mine` are those that the pods have."""
        record = _record(slot, choice)
        if record is None or not _lacks(slot, mine, choice):
            return []
        known = {each.key for each in mine}
        found = [each for each in self._sources(slot, record, choice) if each.key not in known]
        if found:
            which = "some pods" if mine else "the pods"
            self._say(f"{which} of {slot.name} are gone", record)
        return found

    def instead(self, slot: slots.Slot, lost: Sequence[Source], choice: Choice) -> list[Source]:
        """The same logs, of pods that went before they were read."""
        record = _record(slot, choice)
        if record is None:
            return []
        keys = {each.key for each in lost}
        found = [each for each in self._sources(slot, record, choice) if each.key in keys]
        if found:
            self._say(f"pods of {slot.name} have gone", record)
        return found

    def _say(self, what: str, record: dict[str, Any]) -> None:
        where = record["log"]["location"]
        self._session.note(f"{what}: their lines come from the archive ({where})")

    def _sources(self, slot: slots.Slot, record: dict[str, Any], choice: Choice) -> list[Source]:
        uid, number, log = _uid(slot), record["number"], record["log"]
        try:
            manifest = self._archive.manifest(uid, number, log.get("digest"))
        except GoneError:
            self._session.note(
                f"the archive has the log of {slot.name} no more ({log['location']})"
            )
            return []
        except KubeError as error:
            # What the status holds is better than nothing.
            self._session.note(f"the archived log of {slot.name} cannot be read: {error}")
            return []
        found = of_archive(slot.task, slot.index, number, uid, manifest, choice)
        problems = [f"{each.name}: {each.problem}" for each in manifest.files if each.problem]
        for problem in (*manifest.problems, *problems):
            self._session.note(f"the archived log of {slot.name} is not whole: {problem}")
        return found


def _uid(slot: slots.Slot) -> str:
    return str(((slot.unit or {}).get("metadata") or {}).get("uid") or "")


def _record(slot: slots.Slot, choice: Choice) -> dict[str, Any] | None:
    """The attempt that is meant, if its log is in the archive."""
    attempts = slot.status.get("attempts") or []
    if choice.attempt is not None:
        attempts = [each for each in attempts if each["number"] == choice.attempt]
    if attempts and (attempts[-1].get("log") or {}).get("location"):
        return dict(attempts[-1])
    return None


def _lacks(slot: slots.Slot, mine: Sequence[Source], choice: Choice) -> bool:
    """Whether a pod of the task is not there any more."""
    if not mine:
        return True
    if slot.phase not in view.TERMINAL or choice.rank is not None or choice.role is not None:
        return False
    executor = ((slot.unit or {}).get("spec") or {}).get("executor") or {}
    block = next(iter(executor.values()), None) or {}
    nodes = int(block.get("numNodes") or block.get("nodes") or 1)
    return len({(each.role, each.rank) for each in mine}) < nodes
