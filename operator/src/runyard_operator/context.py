"""What a reconciler is given: the world behind a few names, all of them exchangeable in tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from runyard_operator.config import Config
from runyard_operator.events import EventEmitter
from runyard_operator.kube.api import KubeApi
from runyard_operator.logs.archiver import Archiver
from runyard_operator.metrics import Metrics
from runyard_operator.queue import Queue
from runyard_operator.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Handed to `runyard_operator.reconcile.dispatch.build`.

    Attributes:
        kube: the API server.
        store: what the watches have told; a hint that may be seconds old.
        queue: to ask for a reconcile of another object.
        metrics: counters.
        config: settings.
        now: the wall clock in UTC, in whole seconds, as timestamps of the API are.
        emit: posts an Event about an object.
        epoch: the number of this leadership: above that of every leader before; 0 without election.
        fence: stands before a call to a backend that is not behind `kube`: it ends the process when
            another leader may have begun.
        archiver: keeps the logs of attempts that are over; None where nobody wants that.
        point: is told of each moment of `points`; a test may let the operator die there.
    """

    kube: KubeApi
    store: Store
    queue: Queue
    metrics: Metrics
    config: Config
    now: Callable[[], datetime]
    emit: EventEmitter
    epoch: Callable[[], int] = lambda: 0
    fence: Callable[[], None] = lambda: None
    archiver: Archiver | None = None
    point: Callable[[str], None] = lambda _: None


def utc_now() -> datetime:
    """The wall clock in UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
