"""Follows one experiment by watches until it ends: a live table, or plain lines."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Final, Protocol

from runyard.cli import layout, paint, view
from runyard.cli.errors import CANCELLED, FAILED, TIMED_OUT, CliError, not_found
from runyard.cli.session import Session
from runyard.cli.view import View
from runyard.kube.client import EXPERIMENTS, UNITS, KubeClient, Object
from runyard.kube.watch import Broken, Event, Interrupted, Snapshot, Watch, pump

_TICK_SECONDS: Final = 1.0
_SETTLE_SECONDS: Final = 2.0
_EXIT_CODES: Final = {"Succeeded": 0, "Failed": FAILED, "Cancelled": CANCELLED}


class Screen(Protocol):
    """Where the follower shows what it knows."""

    def show(self, current: View, trouble: str) -> None:
        """Shows the state; `trouble` is why it may be old, or empty."""

    def finish(self, current: View) -> None:
        """Shows the end."""


@dataclass(slots=True)
class PlainScreen:
    """One line for each change, for logs and pipes."""

    session: Session
    _phases: dict[str, tuple[str, str]] = field(default_factory=dict)
    _trouble: str = ""

    def show(self, current: View, trouble: str) -> None:
        if trouble != self._trouble:
            self._line(f"{trouble}; trying again" if trouble else "the API server answers again")
            self._trouble = trouble
        messages = {each.task: each.message for each in current.problems}
        for row in current.rows:
            self._change(row.task, row.phase, row.reason, messages.get(row.task, ""))
        self._change(f"experiment {current.name}", current.phase, current.reason, current.message)

    def finish(self, current: View) -> None:
        self.session.say()
        _print(self.session, current)

    def _change(self, subject: str, phase: str, reason: str, message: str) -> None:
        before = self._phases.get(subject)
        if before == (phase, reason):
            return
        self._phases[subject] = (phase, reason)
        if phase == "Pending":
            return  # how everything begins; what it waits for is told by the others' lines
        detail = f" ({reason})" if reason and reason != phase else ""
        said = f": {layout.clean(message).splitlines()[0]}" if message.strip() else ""
        self._line(f"{subject} {phase}{detail}{said}")

    def _line(self, text: str) -> None:
        self.session.say(f"{self.session.now():%H:%M:%S} {text}")


class LiveScreen(AbstractContextManager["LiveScreen"]):
    """The table, drawn again in place."""

    def __init__(self, session: Session) -> None:
        from rich.console import Console
        from rich.live import Live

        self.session = session
        self._console = Console(file=session.out, no_color=not session.colour)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveScreen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, current: View, trouble: str) -> None:
        size = self._console.size
        lines = layout.experiment(current, size.width, size.height - 2)
        if trouble:
            lines += [[], [(layout.cut(f"{trouble}; trying again", size.width), "Failed")]]
        self._live.update(paint.rich_text(lines), refresh=True)

    def finish(self, current: View) -> None:
        self._live.stop()
        _print(self.session, current)


def _print(session: Session, current: View) -> None:
    lines = layout.experiment(current, session.width)
    session.out.write(paint.text(lines, colour=session.colour))
    session.out.flush()


def follow(
    session: Session,
    client: KubeClient,
    name: str,
    timeout: float | None = None,
    started: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[View, int]:
    """Shows the experiment until it is over; its last view and the exit code that says how.

    `timeout` seconds count from `started`, a moment of `clock`, or from now.

    Raises:
        CliError: there is no such experiment, or it was deleted meanwhile.
        KubeError: the API server refuses the watch.
    """
    begin = clock() if started is None else started
    deadline = None if timeout is None else begin + timeout
    context: AbstractContextManager[Screen] = (
        LiveScreen(session) if session.interactive else nullcontext(PlainScreen(session))
    )
    current: View | None = None
    with context as screen, _said_on_interrupt(session, client, name):
        for current, trouble in _states(session, client, name, deadline, clock):
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
) -> Iterator[tuple[View, str]]:
    """The view at every change and every tick, with what troubles the watch; until the deadline."""
    watches = {
        "experiment": Watch(
            client, EXPERIMENTS, client.namespace, {"fieldSelector": f"metadata.name={name}"}
        ),
        "units": Watch(
            client, UNITS, client.namespace, {"labelSelector": f"{view.LABEL_EXPERIMENT}={name}"}
        ),
    }
    events: queue.Queue[tuple[str, Event]] = queue.Queue()
    state = _State(client, name)
    for key, watch in watches.items():
        pump(watch, events, key)
    try:
        while deadline is None or clock() < deadline:
            left = _TICK_SECONDS if deadline is None else deadline - clock()
            try:
                state.take(*events.get(timeout=max(0.0, min(_TICK_SECONDS, left))))
                if not events.empty():
                    continue  # draw once for a burst
            except queue.Empty:
                pass
            if state.ready:
                current = view.build(state.experiment or {}, state.units, session.now())
                if current.ended and state.settling(clock()):
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
        self._seen_units = False
        self._ended_at: float | None = None
        self.experiment: Object | None = None
        self.units: list[Object] = []

    @property
    def ready(self) -> bool:
        return self.experiment is not None and self._seen_units

    @property
    def trouble(self) -> str:
        return next(iter(self._troubles.values()), "")

    def settling(self, now: float) -> bool:
        """Whether to wait a moment for units whose end is behind the experiment's.

        The two watches are not ordered against each other: without this the last table could show
        a task as Running in an experiment that has Succeeded.
        """
        if self._ended_at is None:
            self._ended_at = now
        own = view.own_units(self.experiment or {}, self.units)
        open_units = any(view.phase_of(unit) not in view.TERMINAL for unit in own)
        return open_units and now - self._ended_at < _SETTLE_SECONDS

    def take(self, key: str, event: Event) -> None:
        if isinstance(event, Broken):
            raise event.error
        if isinstance(event, Interrupted):
            self._troubles[key] = event.message
            return
        self._troubles.pop(key, None)
        if key == "units":
            self.units = list(event.items.values())
            self._seen_units = True
            return
        self._take_experiment(event)

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
        lines += [f"  {layout.clean(line)}" for line in each.log_lines]
    return lines
