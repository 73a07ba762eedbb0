"""The store's metrics. Their labels are bounded: kinds of requests and HTTP statuses."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector


class StoreMetrics:
    """Counters of one store process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "runyard_store_requests",
            "Requests, by method, kind (bundles, logs) and HTTP status",
            ["method", "kind", "status"],
            registry=self.registry,
        )
        self._received = Counter(
            "runyard_store_received_bytes", "Bytes taken in and kept", registry=self.registry
        )
        self._objects = Gauge(
            "runyard_store_objects", "Things kept, by kind", ["kind"], registry=self.registry
        )
        self._bytes = Gauge(
            "runyard_store_bytes", "Their bytes, by kind", ["kind"], registry=self.registry
        )
        self._free = Gauge(
            "runyard_store_free_bytes", "Room that is left on the volume", registry=self.registry
        )

    def answered(self, method: str, kind: str, status: int) -> None:
        """Counts a request."""
        self._requests.labels(method, kind, str(status)).inc()

    def received(self, count: int) -> None:
        """Counts bytes."""
        self._received.inc(count)

    def holds(self, kinds: Mapping[str, tuple[int, int]], free: int | None) -> None:
        """Sets what is kept: for each kind how many things, and their bytes."""
        for kind, (count, size) in kinds.items():
            self._objects.labels(kind).set(count)
            self._bytes.labels(kind).set(size)
        if free is not None:
            self._free.set(free)
