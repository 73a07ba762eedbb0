"""`runyard logs -f`: all ranks at once, pods as they come, until the tasks have ended."""

from __future__ import annotations

import queue
import threading
from typing import Final

from runyard.cli import slots, view
from runyard.cli.errors import FAILED, CliError
from runyard.cli.logs import Printer, by_place
from runyard.kube.client import EXPERIMENTS, PODS, UNITS, Object
from runyard.kube.errors import KubeError
from runyard.kube.watch import Broken, Event, Interrupted, Watch, pump
from runyard.logs.describe import started
from runyard.logs.find import Source, of_pods
from runyard.logs.tail import End, Tail

_DRAIN_SECONDS: Final = 10.0


def follow_logs(printer: Printer, experiment: Object) -> int:
    """Prints lines as they come, until every task that is meant has ended."""
    events: queue.Queue[tuple[str, Event]] = queue.Queue()
    client, wanted = printer.client, printer.wanted
    namespace = client.namespace
    mine = {"labelSelector": f"{view.LABEL_EXPERIMENT}={wanted.experiment}"}
    watches = {
        "experiment": Watch(
            client, EXPERIMENTS, namespace, {"fieldSelector": f"metadata.name={wanted.experiment}"}
        ),
        "units": Watch(client, UNITS, namespace, mine),
        "pods": Watch(client, PODS, namespace, {"labelSelector": wanted.selector}),
    }
    state = _State(printer, experiment, events)
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
        self, printer: Printer, experiment: Object, events: queue.Queue[tuple[str, Event]]
    ) -> None:
        self._events = events
        self._printer = printer
        self._wanted = printer.wanted
        self._experiment = experiment
        self._several = self._wanted.task is None
        self._units: list[Object] = []
        self._pods: list[Object] = []
        self._heard: set[str] = set()
        self._followers: dict[str, tuple[Source, Tail, threading.Thread]] = {}
        self._gone: dict[str, Source] = {}
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
                self._printer.session.note(f"{event.message}; trying again")
            self._trouble = True
            return
        self._trouble = False
        self._heard.add(key)
        if key == "units":
            self._units = list(event.items.values())
        elif key == "pods":
            self._pods = list(event.items.values())
        else:
            found = event.items.get(self._wanted.experiment)
            if found is None or found["metadata"]["uid"] != self._experiment["metadata"]["uid"]:
                raise CliError(f"the experiment {self._wanted.experiment!r} was deleted")
            self._experiment = found
        if self._heard >= {"units", "pods"}:
            self._follow()

    def _follow(self) -> None:
        pods = by_place(self._pods)
        found = [
            each
            for slot in self._slots
            for each in of_pods(pods.get((slot.task, slot.index), []), self._wanted.choice(slot))
        ]
        self._several = self._several or len(found) > 1
        for each in found:
            if each.key not in self._followers and each.pod and started(each.pod, each.container):
                self._start(each)

    def _start(self, source: Source) -> None:
        # A training job's pods come one after the other: the first one has a prefix as well.
        tail = self._printer.tail(source, several=self._several or source.several)

        def run() -> None:
            try:
                if tail.run(follow=True) is End.GONE:
                    self._gone[source.key] = source
            except (KubeError, OSError) as error:  # OSError: nobody reads our output any more
                self._events.put(("log", Broken(error)))

        thread = threading.Thread(target=run, name=f"log-{source.prefix}", daemon=True)
        self._followers[source.key] = (source, tail, thread)
        thread.start()

    def drain(self) -> None:
        """Lets the followers read what is left: their pods have ended, or are ending."""
        client = self._printer.client
        self._pods = client.list_objects(PODS, client.namespace, self._wanted.selector)
        self._follow()
        for source, tail, thread in self._followers.values():
            written = -1
            while thread.is_alive() and tail.written != written:
                written = tail.written
                thread.join(_DRAIN_SECONDS)
            if thread.is_alive():
                self._printer.session.note(
                    f"{source.prefix}: the rest of its log does not come; read it later without -f"
                )
        while not self._events.empty():
            _, event = self._events.get()
            if isinstance(event, Broken):
                raise event.error

    def stop(self) -> None:
        for _, tail, _ in self._followers.values():
            tail.stop()

    def finish(self) -> int:
        """Turns to the archive, and last to the status, for what no pod has told."""
        printed = bool(self._followers)
        for slot in self._slots:
            mine = [
                source
                for source, _, _ in self._followers.values()
                if (source.task, source.member) == (slot.task, slot.index)
            ]
            told = self._from_archive(slot, mine) or bool(mine)
            printed |= told or self._printer.last_lines(slot, several=self._several)
        if printed or self._wanted.task is None:
            return 0
        for slot in self._slots[:1]:
            self._printer.session.note(f"{slot.name} has ended ({slot.phase}) and left no lines")
        return FAILED

    def _from_archive(self, slot: slots.Slot, mine: list[Source]) -> bool:
        choice, archived = self._wanted.choice(slot), self._printer.archived
        lost = [each for each in mine if each.key in self._gone]
        found = archived.missing(slot, mine, choice)
        self._several = self._several or len(found) > 1
        for each in found:
            self._printer.once(each, several=self._several)
        for each in archived.instead(slot, lost, choice) if lost else []:
            _, tail, _ = self._followers[each.key]
            reader = each.reader(self._printer.client, self._printer.archive)
            tail.elsewhere(reader).run(follow=False)
        return bool(found)
