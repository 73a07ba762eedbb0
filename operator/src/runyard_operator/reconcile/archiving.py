"""Keeps the logs of attempts that are over: asks for it, and takes what came of it."""

from __future__ import annotations

from runyard.api.constants import LABEL_ATTEMPT
from runyard.api.unit import Attempt, UnitSpec
from runyard_operator.context import Context
from runyard_operator.engine.unit import Archived, UnitView
from runyard_operator.kube.api import Objects
from runyard_operator.logs.plan import Subject


class LogKeeper:
    """What the unit's reconciler asks of the archive; without one it says so, and does nothing."""

    def __init__(self, context: Context) -> None:
        self._archiver = context.archiver
        self._store = context.store

    @property
    def works(self) -> bool:
        """Whether logs are kept at all."""
        return self._archiver is not None

    def ask(self, unit: UnitView, number: int) -> None:
        """Wants the logs of an attempt kept; asking again changes nothing."""
        if self._archiver is not None:
            subject = Subject(
                namespace=unit.namespace,
                name=unit.name,
                uid=unit.uid,
                attempt=number,
                nodes=_nodes(unit.spec),
            )
            self._archiver.request(subject, self._pods(unit, number))

    def answer(self, unit: UnitView) -> Archived | None:
        """What became of an attempt's logs, where the status does not say it yet."""
        for attempt in unit.status.attempts if self._archiver is not None else ():
            found = self._answer(unit, attempt)
            if found is not None:
                return found
        return None

    def _answer(self, unit: UnitView, attempt: Attempt) -> Archived | None:
        if self._archiver is None:
            return None
        if attempt.log is not None:
            self._archiver.forget(unit.uid, attempt.number)
            return None
        log = self._archiver.result(unit.uid, attempt.number)
        return None if log is None else Archived(attempt.number, log)

    def _pods(self, unit: UnitView, number: int) -> Objects:
        """Those that are known: one that has gone by now is missed by its name."""
        return [
            each
            for each in self._store.children(unit.uid, "Pod")
            if each["metadata"]["labels"].get(LABEL_ATTEMPT) == str(number)
        ]


def _nodes(spec: UnitSpec) -> int | None:
    """How many pods the attempt should have had, where that is sure."""
    executor = spec.executor
    if spec.group is not None:
        return 1 if executor.job is not None else None
    if executor.job is not None:
        return executor.job.nodes or 1
    if executor.train_job is not None and executor.train_job.min_nodes is None:
        return executor.train_job.num_nodes or 1
    return None
