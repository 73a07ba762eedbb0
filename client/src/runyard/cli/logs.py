"""`runyard logs`: what tasks write, from their pods and, when those are gone, from the archive."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from runyard.cli import slots, times, view
from runyard.cli.cells import clean
from runyard.cli.errors import FAILED, USAGE, CliError, not_found, suggestion
from runyard.cli.logarchive import Archived
from runyard.cli.logwriter import LogWriter
from runyard.cli.session import Session
from runyard.kube.client import EXPERIMENTS, PODS, UNITS, KubeClient, Object
from runyard.logs.archive import Archive
from runyard.logs.describe import task_of
from runyard.logs.find import Choice, Source, of_pods
from runyard.logs.position import Bookmarks, PositionError
from runyard.logs.tail import End, Options, Tail

_MEMBER: Final = re.compile(r"(?P<task>[-a-z0-9]+)(?:\[(?P<in>\d+)\]|/(?P<after>\d+))")
_MAX_EXPLAINED: Final = 10

Place = tuple[str, int | None]
"""A task, and the member of its matrix."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose lines, and which of them.

    Attributes:
        attempt: the number of the attempt; None is the newest.
        previous: the attempt before the newest, in place of a number.
        since: a duration such as 10m, or an RFC 3339 time.
        resume: the file with the places from which to go on.
    """

    experiment: str
    task: str | None = None
    member: int | None = None
    rank: int | None = None
    role: str | None = None
    attempt: int | None = None
    previous: bool = False
    tail: int | None = None
    since: str | None = None
    timestamps: bool = False
    resume: Path | None = None

    @property
    def options(self) -> Options:
        """Which lines of each log."""
        return Options(self.tail, self.since, self.timestamps)

    @property
    def selector(self) -> str:
        """The labels of the pods."""
        task = f",{view.LABEL_TASK}={self.task}" if self.task else ""
        member = "" if self.member is None else f",{view.LABEL_MEMBER}={self.member}"
        return f"{view.LABEL_EXPERIMENT}={self.experiment}{task}{member}"

    def choice(self, slot: slots.Slot) -> Choice:
        """Which logs of a task are meant."""
        attempt = self.attempt
        if self.previous:
            attempts = slot.status.get("attempts") or []
            # There is none before the first; 0 is a number that no attempt has.
            attempt = int(attempts[-1]["number"]) - 1 if attempts else 0
        return Choice(self.rank, self.role, attempt)

    def slots(self, experiment: Object, units: Iterable[Object]) -> list[slots.Slot]:
        """The tasks, and the members of matrices, whose lines are meant."""
        over = ((experiment.get("status") or {}).get("phase") or "") in view.TERMINAL
        found = slots.tasks(experiment, units, over=over)
        return [
            slot
            for task in found
            if self.task in (None, task.name)
            for slot in task.slots or [slots.Slot(task.name, None, "Pending", False, None)]
            if self.member in (None, slot.index)
        ]


def run(session: Session, wanted: Wanted, *, follow: bool) -> int:
    """Prints the lines; 1 when a task that was named has none yet."""
    if wanted.since is not None:
        wanted = replace(wanted, since=moment(wanted.since, session.now()))
    client = session.connect()
    experiment = client.find(EXPERIMENTS, client.namespace, wanted.experiment)
    if experiment is None:
        raise not_found(client, wanted.experiment)
    wanted = chosen(experiment, wanted)
    try:
        bookmarks = Bookmarks(wanted.resume) if wanted.resume else None
    except PositionError as error:
        raise CliError(str(error), code=USAGE) from error
    with bookmarks or nullcontext():
        printer = Printer(session, client, wanted, bookmarks)
        if follow:
            from runyard.cli.logfollow import follow_logs

            return follow_logs(printer, experiment)
        return _print(printer, experiment)


def moment(text: str, now: datetime) -> str:
    """The whole second that a duration before now, or a time, means, in UTC.

    Raises:
        CliError: the text is neither.
    """
    try:
        when = now - timedelta(seconds=times.parse_duration(text))
    except ValueError:
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            when = now.replace(tzinfo=None)
        if when.tzinfo is None:
            raise CliError(
                f"--since {text}: this is neither a duration nor a time with its zone",
                "write for example 10m, 1h30m or 2026-03-01T12:00:00Z",
                USAGE,
            ) from None
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def chosen(experiment: Object, wanted: Wanted) -> Wanted:
    """The same with TASK[3] and TASK/3 told apart into the task and the member."""
    if wanted.task is None:
        return wanted
    known = {each["name"]: each for each in task_specs(experiment)}
    found = _MEMBER.fullmatch(wanted.task)
    if found is not None:
        wanted = replace(wanted, task=found["task"], member=int(found["in"] or found["after"]))
    if wanted.task not in known:
        raise CliError(
            f"the experiment {wanted.experiment!r} has no task {wanted.task!r}",
            suggestion(wanted.task or "", known) or f"its tasks are: {', '.join(known)}",
        )
    if wanted.member is not None and not known[wanted.task].get("matrix"):
        raise CliError(
            f"the task {wanted.task!r} has no matrix, and so no member {wanted.member}",
            "a node of a training job is chosen with --rank",
            USAGE,
        )
    return wanted


def task_specs(experiment: Object) -> list[Object]:
    """The tasks, those of `finally` last."""
    return [*experiment["spec"]["tasks"], *(experiment["spec"].get("finally") or [])]


class Printer:
    """What both ways of printing have in common: where lines come from, and where they go."""

    def __init__(
        self, session: Session, client: KubeClient, wanted: Wanted, bookmarks: Bookmarks | None
    ) -> None:
        self.session = session
        self.client = client
        self.wanted = wanted
        self.archive = Archive(client)
        self.archived = Archived(session, self.archive)
        self._writer = LogWriter(session.out, colour=session.colour)
        self._bookmarks = bookmarks

    def tail(self, source: Source, *, several: bool) -> Tail:
        """Reads one log and prints its lines, from where it was left if that is known."""
        marks, key = self._bookmarks, source.key
        return Tail(
            source.reader(self.client, self.archive),
            self.wanted.options,
            self._writer.to(source.prefix if several else ""),
            place=marks.get(key) if marks else None,
            flush=self._writer.flush,
            keep=(lambda place: marks.put(key, place)) if marks else None,
            note=lambda said: self.session.note(f"{source.prefix}: {said}"),
        )

    def once(self, source: Source, *, several: bool) -> bool:
        """Prints what there is now; whether the log was there."""
        return self.tail(source, several=several).run(follow=False) is not End.GONE

    def last_lines(self, slot: slots.Slot, *, several: bool) -> bool:
        """The last lines in the unit's status, when its pods are gone; whether there are any."""
        choice = self.wanted.choice(slot)
        attempts = slot.status.get("attempts") or []
        if choice.attempt is not None:
            attempts = [each for each in attempts if each["number"] == choice.attempt]
        lines: Sequence[str] = attempts[-1].get("lastLogLines") or [] if attempts else []
        if not lines:
            return False
        self.session.note(
            f"the pods of {slot.name} are gone: these are the last lines that its status holds"
        )
        tail = self.wanted.tail
        write = self._writer.to(slot.name if several else "")
        for line in lines if tail is None else lines[max(0, len(lines) - tail) :]:
            write(clean(line).encode())
        return True


def by_place(pods: Iterable[Object]) -> dict[Place, list[Object]]:
    """The pods of every task and member."""
    found: dict[Place, list[Object]] = {}
    for pod in pods:
        found.setdefault(task_of(pod), []).append(pod)
    return found


def _print(printer: Printer, experiment: Object) -> int:
    client, wanted = printer.client, printer.wanted
    selector = f"{view.LABEL_EXPERIMENT}={wanted.experiment}"
    units = client.list_objects(UNITS, client.namespace, selector)
    meant = wanted.slots(experiment, units)
    pods = by_place(client.list_objects(PODS, client.namespace, wanted.selector))
    found: list[tuple[slots.Slot, list[Source]]] = []
    for slot in meant:
        choice = wanted.choice(slot)
        mine = of_pods(pods.get((slot.task, slot.index), []), choice)
        found.append((slot, [*mine, *printer.archived.missing(slot, mine, choice)]))
    several = sum(len(mine) for _, mine in found) > 1 or wanted.task is None
    printed = False
    for slot, mine in found:
        there = [printer.once(each, several=several) for each in mine]
        if not all(there):
            lost = [each for each, was in zip(mine, there, strict=True) if not was]
            again = printer.archived.instead(slot, lost, wanted.choice(slot))
            there += [printer.once(each, several=several) for each in again]
        if any(there) or printer.last_lines(slot, several=several):
            printed = True
    if printed:
        return 0
    _explain_nothing(printer, meant)
    return FAILED


def _explain_nothing(printer: Printer, meant: Sequence[slots.Slot]) -> None:
    session, wanted = printer.session, printer.wanted
    if wanted.rank is not None:
        session.note(f"there is no pod of rank {wanted.rank}")
    if wanted.role is not None:
        session.note(f"there is no pod or container of a role {wanted.role}")
    for line in _explained(wanted, meant[:_MAX_EXPLAINED]):
        session.note(line)
    if len(meant) > _MAX_EXPLAINED:
        session.note(f"and {len(meant) - _MAX_EXPLAINED} more")
    if not meant:
        session.note(f"{wanted.task} has no member {wanted.member}")


def _explained(wanted: Wanted, meant: Sequence[slots.Slot]) -> Iterator[str]:
    for slot in meant:
        attempt = wanted.choice(slot).attempt
        attempts = [each["number"] for each in slot.status.get("attempts") or []]
        if attempt is not None and attempt not in attempts:
            known = f"it has {', '.join(map(str, attempts))}" if attempts else "it has none yet"
            yield f"{slot.name} has no attempt {attempt or 'before its first'}: {known}"
        elif slot.phase in view.TERMINAL:
            yield f"{slot.name} has ended ({slot.phase}), its pods are gone and left no lines"
        else:
            yield f"{slot.name} has no log yet: it is {slot.phase}; wait for it with -f"
