"""Metrics. Their labels are bounded: kinds, phases, reasons, backends; never names of objects."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runyard.api.unit import UnitPhase
from runyard_operator import __version__
from runyard_operator.queue import Key, Queue
from runyard_operator.store import Store

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The operator's counters; each instance has a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        Info("runyard_build", "The operator's version", registry=self.registry).info(
            {"version": __version__}
        )
        self._reconciles = Histogram(
            "runyard_reconcile_seconds",
            "Duration of reconciles, by kind",
            ["kind"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._errors = Counter(
            "runyard_reconcile_errors",
            "Reconciles that failed and are repeated, by kind and class of the error",
            ["kind", "error"],
            registry=self.registry,
        )
        self._calls = Histogram(
            "runyard_api_request_seconds",
            "Calls of the API server, by verb and HTTP status (0: no answer)",
            ["verb", "status"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._submissions = Counter(
            "runyard_submissions",
            "Attempts handed to a backend, by backend and result",
            ["backend", "result"],
            registry=self.registry,
        )
        self._transitions = Counter(
            "runyard_phase_transitions",
            "Changes of phase, by kind, new phase and its reason",
            ["kind", "phase", "reason"],
            registry=self.registry,
        )
        self._events = Counter(
            "runyard_watch_events",
            "Events from the watches, by kind",
            ["kind"],
            registry=self.registry,
        )

        self._lag = Gauge(
            "runyard_loop_lag_seconds",
            "How late the event loop was at the last beat",
            registry=self.registry,
        )

    def watch(self, queue: Queue, store: Store) -> None:
        """Shows the state of the queue and the store as it is at each scrape."""
        for name, text, read in (
            ("runyard_queue_keys", "Objects that wait for a reconcile", lambda: queue.depth),
            (
                "runyard_queue_failing_keys",
                "Objects whose last reconcile failed",
                lambda: queue.failing,
            ),
            ("runyard_queue_oldest_seconds", "Longest wait in the queue", queue.oldest_age),
            ("runyard_queue_longest_run_seconds", "Longest reconcile that runs", queue.longest_run),
        ):
            Gauge(name, text, registry=self.registry).set_function(read)
        self.registry.register(_Phases(store))

    def elect(self, leading: Callable[[], bool], transitions: Callable[[], int]) -> None:
        """Shows who leads as it is at each scrape."""
        Gauge(
            "runyard_leader",
            "1 in the process that works, 0 in one that stands by",
            registry=self.registry,
        ).set_function(leading)
        Gauge(
            "runyard_lease_transitions",
            "How often the lease has changed its holder, as far as this process knows",
            registry=self.registry,
        ).set_function(transitions)

    def reconciled(self, key: Key, seconds: float, error: BaseException | None) -> None:
        """Counts a finished reconcile."""
        self._reconciles.labels(key.kind).observe(seconds)
        if error is not None:
            self._errors.labels(key.kind, type(error).__name__).inc()

    def called(self, verb: str, status: int, seconds: float) -> None:
        """Counts a call of the API server."""
        self._calls.labels(verb, str(status)).observe(seconds)

    def lag(self, seconds: float) -> None:
        """Notes how late the event loop is."""
        self._lag.set(seconds)

    def submission(self, backend: str, result: str) -> None:
        """Counts a submission; `result` is Submitted or the reason of the error."""
        self._submissions.labels(backend, result).inc()

    def transition(self, kind: str, phase: str, reason: str) -> None:
        """Counts a change of phase; `reason` is a documented constant."""
        self._transitions.labels(kind, phase, reason).inc()

    def watched(self, kind: str) -> None:
        """Counts an event from a watch."""
        self._events.labels(kind).inc()


class _Phases(Collector):
    """Counts the units of the store at scrape time, so that nothing can drift."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterable[Metric]:
        units = self._store.list("ExecutionUnit")
        tally = Tally(str(unit.get("status", {}).get("phase", "")) for unit in units)
        family = GaugeMetricFamily("runyard_units", "Units by phase", labels=["phase"])
        for phase in UnitPhase:
            family.add_metric([phase.value], tally.pop(phase.value, 0))
        # Not seen by the operator yet.
        family.add_metric(["New"], sum(tally.values()))
        yield family
