"""Where a follower shows what it knows: lines for pipes, a live table for terminals."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from runyard.cli import layout, paint
from runyard.cli.cells import clean, cut
from runyard.cli.session import Session
from runyard.cli.view import View


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
    _asked: set[str] = field(default_factory=set)
    _trouble: str = ""

    def show(self, current: View, trouble: str) -> None:
        if trouble != self._trouble:
            self._line(f"{trouble}; trying again" if trouble else "the API server answers again")
            self._trouble = trouble
        messages = {each.task: each.message for each in current.problems}
        for row in current.rows:
            self._change(row.task, row.phase, row.steady, messages.get(row.task, ""))
        for task, _ in current.approvals:
            if task not in self._asked:
                self._asked.add(task)
                self._line(f"{task} waits for approval: runyard approve {current.name} {task}")
        self._change(f"experiment {current.name}", current.phase, current.reason, current.message)

    def finish(self, current: View) -> None:
        self.session.say()
        show_once(self.session, current)

    def _change(self, subject: str, phase: str, reason: str, message: str) -> None:
        before = self._phases.get(subject)
        if before == (phase, reason):
            return
        self._phases[subject] = (phase, reason)
        if phase == "Pending":
            return  # how everything begins; what it waits for is told by the others' lines
        detail = f" ({reason})" if reason and reason != phase else ""
        said = f": {clean(message).splitlines()[0]}" if message.strip() else ""
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
            lines += [[], [(cut(f"{trouble}; trying again", size.width), "Failed")]]
        self._live.update(paint.rich_text(lines), refresh=True)

    def finish(self, current: View) -> None:
        self._live.stop()
        show_once(self.session, current)


def show_once(session: Session, current: View) -> None:
    """Prints the table once."""
    lines = layout.experiment(current, session.width)
    session.out.write(paint.text(lines, colour=session.colour))
    session.out.flush()


def screen_for(session: Session) -> AbstractContextManager[Screen]:
    """The screen that suits the output."""
    if session.interactive:
        return LiveScreen(session)
    return nullcontext(PlainScreen(session))
