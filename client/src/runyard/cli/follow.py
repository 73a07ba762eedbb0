"""Follows one experiment by watches until it ends: a live table, or plain lines."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from runyard.cli import view
from runyard.cli.cells import clean
from runyard.cli.errors import CANCELLED, FAILED, TIMED_OUT, CliError, not_found
from runyard.cli.screens import screen_for
from runyard.cli.session import Session
from runyard.cli.view import View
from runyard.kube.client import EXPERIMENTS, UNITS, KubeClient, Object
from runyard.kube.watch import Broken, Event, Interrupted, Snapshot, Watch, pump

_TICK_SECONDS: Final = 1.0
_SETTLE_SECONDS: Final = 2.0
_UNIT_WATCHES: Final = 2
_EXIT_CODES: Final = {"Succeeded": 0, "Failed": FAILED, "Cancelled": CANCELLED}


def follow(
    session: Session,
    client: KubeClient,
    name: str,
    timeout: float | None = None,
    started: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    *,
    members: bool = False,
) -> tuple[View, int]:
    """Shows the experiment until it is over; its last view and the exit code that says how.

    `timeout` seconds count from `started`, a moment of `clock`, or from now.

    Raises:
        CliError: there is no such experiment, or it was deleted meanwhile.
        KubeError: the API server refuses the watch.
    """
    begin = clock() if started is None else started
    deadline = None if timeout is None else begin + timeout
    current: View | None = None
    with _said_on_interrupt(session, client, name), screen_for(session) as screen:
        for current, trouble in _states(session, client, name, deadline, clock, members):
            screen.show(current, trouble)
            if current.ended:
                screen.finish(current)
                return current, _EXIT_CODES[current.phase]
        if current is not None:
            screen.finish(current)
    raise CliError(
        f"the experiment {name!r} had not ended after {timeout:g} s"
        + (f": it is {current.phase}" if current is not None else ""),
        f"it goes on; follow it with: runyard status -w {name} -n {client.namespace}",
        TIMED_OUT,
    )


@contextmanager
def _said_on_interrupt(session: Session, client: KubeClient, name: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        session.note(
            f"the experiment goes on; look again with: runyard status -w {name}"
            f" -n {client.namespace}"
        )
        raise


def _states(
    session: Session,
    client: KubeClient,
    name: str,
    deadline: float | None,
    clock: Callable[[], float],
    members: bool,
) -> Iterator[tuple[View, str]]:
    """The view at every change and every tick, with what troubles the watch; until the deadline."""
    watches = {
        "experiment": Watch(
            client, EXPERIMENTS, client.namespace, {"fieldSelector": f"metadata.name={name}"}
        ),
        **{
            key: Watch(client, UNITS, client.namespace, selectors)
            for key, selectors in view.selectors(name, matrix=True).items()
        },
    }
    events: queue.Queue[tuple[str, Event]] = queue.Queue()
    state = _State(client, name)
    for key, watch in watches.items():
        pump(watch, events, key)
    drawn = clock()
    try:
        while deadline is None or clock() < deadline:
            left = _TICK_SECONDS if deadline is None else deadline - clock()
            try:
                state.take(*events.get(timeout=max(0.0, min(_TICK_SECONDS, left))))
                if not events.empty() and clock() - drawn < _TICK_SECONDS:
                    continue  # draw once for a burst
            except queue.Empty:
                pass
            if state.ready:
                drawn = clock()
                units = [each for part in state.units.values() for each in part]
                current = view.build(state.experiment or {}, units, session.now(), members=members)
                if current.ended and state.settling(units, clock()):
                    continue
                yield current, state.trouble
    finally:
        for watch in watches.values():
            watch.stop()


class _State:
    """What the watches have told so far."""

    def __init__(self, client: KubeClient, name: str) -> None:
        self._client = client
        self._name = name
        self._troubles: dict[str, str] = {}
        self._uid = ""
        self._ended_at: float | None = None
        self.experiment: Object | None = None
        self.units: dict[str, list[Object]] = {}

    @property
    def ready(self) -> bool:
        return self.experiment is not None and len(self.units) == _UNIT_WATCHES

    @property
    def trouble(self) -> str:
        return next(iter(self._troubles.values()), "")

    def settling(self, units: list[Object], now: float) -> bool:
        """Whether to wait a moment for units whose end is behind the experiment's.

        The two watches are not ordered against each other: without this the last table could show
        a task as Running in an experiment that has Succeeded.
        """
        if self._ended_at is None:
            self._ended_at = now
        own = view.own_units(self.experiment or {}, units)
        open_units = any(view.phase_of(unit) not in view.TERMINAL for unit in own)
        return open_units and now - self._ended_at < _SETTLE_SECONDS

    def take(self, key: str, event: Event) -> None:
        if isinstance(event, Broken):
            raise event.error
        if isinstance(event, Interrupted):
            self._troubles[key] = event.message
            return
        self._troubles.pop(key, None)
        if key == "experiment":
            self._take_experiment(event)
        else:
            self.units[key] = list(event.items.values())

    def _take_experiment(self, event: Snapshot) -> None:
        found = event.items.get(self._name)
        if found is None:
            if not self._uid:
                raise not_found(self._client, self._name)
            raise CliError(f"the experiment {self._name!r} was deleted")
        uid = found["metadata"]["uid"]
        if self._uid and uid != self._uid:
            raise CliError(
                f"the experiment {self._name!r} was deleted, and another of its name was made",
                f"follow that one with: runyard status -w {self._name}",
            )
        self._uid = uid
        self.experiment = found


def failures(current: View) -> list[str]:
    """The last words of every failed task, for the end of a failed run."""
    lines: list[str] = []
    for each in current.problems:
        if each.phase != "Failed" or not each.log_lines:
            continue
        lines += ["", f"last log lines of {each.task}:"]
        lines += [f"  {clean(line)}" for line in each.log_lines]
    return lines
