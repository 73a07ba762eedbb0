"""`runyard logs -f`: all ranks at once, pods as they come, until the tasks have ended."""

from __future__ import annotations

import queue
import threading
from typing import Final

from runyard.cli import slots, view
from runyard.cli.errors import FAILED, CliError
from runyard.cli.logs import Source, Wanted, print_last_lines, sources
from runyard.cli.logstream import Follower, LogWriter, started
from runyard.cli.session import Session
from runyard.kube.client import EXPERIMENTS, PODS, UNITS, KubeClient, Object
from runyard.kube.errors import KubeError
from runyard.kube.watch import Broken, Event, Interrupted, Watch, pump

_DRAIN_SECONDS: Final = 10.0


def follow_logs(session: Session, client: KubeClient, experiment: Object, wanted: Wanted) -> int:
    """Prints lines as they come, until every task that is meant has ended."""
    events: queue.Queue[tuple[str, Event]] = queue.Queue()
    namespace = client.namespace
    mine = {"labelSelector": f"{view.LABEL_EXPERIMENT}={wanted.experiment}"}
    watches = {
        "experiment": Watch(
            client, EXPERIMENTS, namespace, {"fieldSelector": f"metadata.name={wanted.experiment}"}
        ),
        "units": Watch(client, UNITS, namespace, mine),
        "pods": Watch(client, PODS, namespace, {"labelSelector": wanted.selector}),
    }
    state = _State(session, client, experiment, wanted, events)
    for key, watch in watches.items():
        pump(watch, events, key)
    try:
        while not state.over:
            state.take(*events.get())
        state.drain()
    finally:
        for watch in watches.values():
            watch.stop()
        state.stop()
    return state.finish()


class _State:
    """What the watches have told, and the followers that run for it."""

    def __init__(
        self,
        session: Session,
        client: KubeClient,
        experiment: Object,
        wanted: Wanted,
        events: queue.Queue[tuple[str, Event]],
    ) -> None:
        self._events = events
        self._session = session
        self._client = client
        self._experiment = experiment
        self._wanted = wanted
        self._writer = LogWriter(session.out, colour=session.colour)
        self._several = wanted.task is None
        self._units: list[Object] = []
        self._heard: set[str] = set()
        self._followers: dict[tuple[str, str], tuple[Source, Follower, threading.Thread]] = {}
        self._trouble = False

    @property
    def _slots(self) -> list[slots.Slot]:
        return self._wanted.slots(self._experiment, self._units)

    @property
    def over(self) -> bool:
        """Whether nothing more will be written: the tasks, or the whole experiment, have ended."""
        if self._heard < {"experiment", "units", "pods"}:
            return False
        phase = (self._experiment.get("status") or {}).get("phase")
        return phase in view.TERMINAL or all(each.phase in view.TERMINAL for each in self._slots)

    def take(self, key: str, event: Event) -> None:
        if isinstance(event, Broken):
            raise event.error
        if isinstance(event, Interrupted):
            if not self._trouble:
                self._session.note(f"{event.message}; trying again")
            self._trouble = True
            return
        self._trouble = False
        self._heard.add(key)
        if key == "units":
            self._units = list(event.items.values())
        elif key == "pods":
            self._follow(list(event.items.values()))
        else:
            found = event.items.get(self._wanted.experiment)
            if found is None or found["metadata"]["uid"] != self._experiment["metadata"]["uid"]:
                raise CliError(f"the experiment {self._wanted.experiment!r} was deleted")
            self._experiment = found

    def _follow(self, pods: list[Object]) -> None:
        found = sources(self._experiment, pods, self._wanted)
        self._several = self._several or len(found) > 1
        for each in found:
            if each.key not in self._followers and started(each.pod, each.container):
                self._start(each)

    def _start(self, source: Source) -> None:
        # A training job's pods come one after the other: the first one has a prefix as well.
        prefix = source.prefix if self._several or source.role or _ranked(source) else ""
        write = self._writer.to(prefix)
        follower = Follower(self._client, source.pod, source.container, self._wanted.options, write)

        def run() -> None:
            try:
                follower.run()
            except (KubeError, OSError) as error:  # OSError: nobody reads our output any more
                self._events.put(("log", Broken(error)))

        thread = threading.Thread(target=run, name=f"log-{source.prefix}", daemon=True)
        self._followers[source.key] = (source, follower, thread)
        thread.start()

    def drain(self) -> None:
        """Lets the followers read what is left: their pods have ended, or are ending."""
        self._follow(self._client.list_objects(PODS, self._client.namespace, self._wanted.selector))
        for _, _, thread in self._followers.values():
            thread.join(_DRAIN_SECONDS)
        while not self._events.empty():
            _, event = self._events.get()
            if isinstance(event, Broken):
                raise event.error

    def stop(self) -> None:
        for _, follower, _ in self._followers.values():
            follower.stop()

    def finish(self) -> int:
        """Falls back on the last lines in status for tasks whose pods were never seen."""
        seen = {(source.task, source.member) for source, _, _ in self._followers.values()}
        printed = bool(seen)
        for slot in self._slots:
            if (slot.task, slot.index) not in seen and print_last_lines(
                self._session, slot, self._several, self._wanted
            ):
                printed = True
        if printed or self._wanted.task is None:
            return 0
        for slot in self._slots[:1]:
            self._session.note(f"{slot.name} has ended ({slot.phase}) and left no lines")
        return FAILED


def _ranked(source: Source) -> bool:
    labels = source.pod["metadata"].get("labels") or {}
    return "jobset.sigs.k8s.io/jobset-name" in labels
