"""Routes a key of the queue to the reconciler of its kind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from runyard_operator.backends.registry import build as build_backends
from runyard_operator.context import Context
from runyard_operator.queue import Key
from runyard_operator.reconcile.experiment import ExperimentReconciler
from runyard_operator.reconcile.unit import UnitReconciler

Worker = Callable[[Key], Awaitable[float | None]]


def build(context: Context) -> Worker:
    """The worker that the queue runs: it returns the seconds until the key's next turn."""
    backends = build_backends(context.kube, context.store, context.config)
    experiments = ExperimentReconciler(context, backends)
    units = UnitReconciler(context, backends)
    by_kind: dict[str, Worker] = {
        "Experiment": experiments.reconcile,
        "ExecutionUnit": units.reconcile,
    }

    async def worker(key: Key) -> float | None:
        return await by_kind[key.kind](key)

    return worker
