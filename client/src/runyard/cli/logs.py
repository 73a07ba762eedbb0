"""`runyard logs`: what the pods of an experiment's tasks write, of all ranks, while they do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from runyard.cli import slots, view
from runyard.cli.cells import clean
from runyard.cli.errors import FAILED, USAGE, CliError, not_found, suggestion
from runyard.cli.logstream import LogWriter, Options, containers_of, read_once
from runyard.cli.session import Session
from runyard.kube.client import EXPERIMENTS, PODS, UNITS, KubeClient, Object

LABEL_RANK: Final = "batch.kubernetes.io/job-completion-index"
LABEL_ATTEMPT: Final = "runyard.dev/attempt"
LABEL_UNIT: Final = "runyard.dev/unit"
_MEMBER: Final = re.compile(r"(?P<task>[-a-z0-9]+)(?:\[(?P<in>\d+)\]|/(?P<after>\d+))")
_MAX_EXPLAINED: Final = 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose lines, and which of them."""

    experiment: str
    task: str | None = None
    member: int | None = None
    rank: int | None = None
    tail: int | None = None
    timestamps: bool = False

    @property
    def options(self) -> Options:
        """How each pod's log is read."""
        return Options(self.tail, self.timestamps)

    @property
    def selector(self) -> str:
        """The labels of the pods."""
        task = f",{view.LABEL_TASK}={self.task}" if self.task else ""
        member = "" if self.member is None else f",{view.LABEL_MEMBER}={self.member}"
        return f"{view.LABEL_EXPERIMENT}={self.experiment}{task}{member}"

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


@dataclass(frozen=True, slots=True)
class Source:
    """One container of a pod as a place that lines come from."""

    task: str
    rank: int
    pod: Object
    container: str
    role: str = ""

    @property
    def member(self) -> int | None:
        """The index in a matrix; None for a plain task."""
        label = (self.pod["metadata"].get("labels") or {}).get(view.LABEL_MEMBER) or ""
        return int(label) if label.isdigit() else None

    @property
    def prefix(self) -> str:
        """What tells its lines from those of others: of a group the role, else the rank."""
        task = self.task if self.member is None else f"{self.task}-{self.member}"
        return f"{task}/{self.role or self.rank}"

    @property
    def key(self) -> tuple[str, str]:
        """The pod's uid and the container."""
        return str(self.pod["metadata"]["uid"]), self.container


def run(session: Session, wanted: Wanted, *, follow: bool) -> int:
    """Prints the lines; 1 when a task that was named has none yet."""
    client = session.connect()
    experiment = client.find(EXPERIMENTS, client.namespace, wanted.experiment)
    if experiment is None:
        raise not_found(client, wanted.experiment)
    wanted = _chosen(experiment, wanted)
    if follow:
        from runyard.cli.logfollow import follow_logs

        return follow_logs(session, client, experiment, wanted)
    return _print(session, client, experiment, wanted)


def _chosen(experiment: Object, wanted: Wanted) -> Wanted:
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


def _print(session: Session, client: KubeClient, experiment: Object, wanted: Wanted) -> int:
    units = client.list_objects(
        UNITS, client.namespace, f"{view.LABEL_EXPERIMENT}={wanted.experiment}"
    )
    chosen = wanted.slots(experiment, units)
    pods = client.list_objects(PODS, client.namespace, wanted.selector)
    found: dict[tuple[str, int | None], list[Source]] = {}
    for each in sources(experiment, pods, wanted):
        found.setdefault((each.task, each.member), []).append(each)
    writer = LogWriter(session.out, colour=session.colour)
    several = sum(map(len, found.values())) > 1 or wanted.task is None
    printed = False
    for slot in chosen:
        mine = found.get((slot.task, slot.index), [])
        for each in mine:
            prefix = each.prefix if several else ""
            read_once(client, each.pod, each.container, wanted.options, writer.to(prefix))
            printed = True
        if not mine and print_last_lines(session, slot, several, wanted):
            printed = True
    if printed:
        return 0
    _explain_nothing(session, wanted, chosen)
    return FAILED


def sources(experiment: Object, pods: Iterable[Object], wanted: Wanted) -> list[Source]:
    """The newest pod of every task, member of a matrix and rank, in the order of the spec; of the
    pod of a group, every role."""
    order = {task["name"]: at for at, task in enumerate(task_specs(experiment))}
    newest: dict[tuple[int, int, str, int], tuple[str, Object]] = {}
    for pod in sorted(pods, key=_made):
        labels = pod["metadata"].get("labels") or {}
        task = labels.get(view.LABEL_TASK) or ""
        rank = int(labels.get(LABEL_RANK) or 0)
        if task in order and wanted.rank in (None, rank):
            member = labels.get(view.LABEL_MEMBER) or ""
            number = int(member) if member.isdigit() else 0
            newest[order[task], number, labels.get(LABEL_UNIT) or "", rank] = task, pod
    return [
        Source(newest[key][0], key[-1], newest[key][1], container, role)
        for key in sorted(newest)
        for container, role in containers_of(newest[key][1])
    ]


def _made(pod: Object) -> tuple[int, str]:
    labels = pod["metadata"].get("labels") or {}
    attempt = labels.get(LABEL_ATTEMPT) or "0"
    number = int(attempt) if attempt.isdigit() else 0
    return number, pod["metadata"].get("creationTimestamp") or ""


def print_last_lines(session: Session, slot: slots.Slot, several: bool, wanted: Wanted) -> bool:
    """The last lines in the unit's status, for when its pods are gone; whether there are any."""
    attempts = slot.status.get("attempts") or []
    lines: Sequence[str] = attempts[-1].get("lastLogLines") or [] if attempts else []
    if not lines:
        return False
    session.note(
        f"the pods of {slot.name} are gone: these are the last lines that its status holds"
    )
    shown = lines if wanted.tail is None else lines[max(0, len(lines) - wanted.tail) :]
    writer = LogWriter(session.out, colour=session.colour).to(slot.name if several else "")
    for line in shown:
        writer(clean(line).encode())
    return True


def _explain_nothing(session: Session, wanted: Wanted, chosen: Sequence[slots.Slot]) -> None:
    if wanted.rank is not None:
        session.note(f"there is no pod of rank {wanted.rank}")
    for line in _explained(chosen[:_MAX_EXPLAINED]):
        session.note(line)
    if len(chosen) > _MAX_EXPLAINED:
        session.note(f"and {len(chosen) - _MAX_EXPLAINED} more")
    if not chosen:
        session.note(f"{wanted.task} has no member {wanted.member}")


def _explained(chosen: Sequence[slots.Slot]) -> Iterator[str]:
    for slot in chosen:
        if slot.phase in view.TERMINAL:
            yield f"{slot.name} has ended ({slot.phase}), its pods are gone and left no lines"
        else:
            yield f"{slot.name} has no log yet: it is {slot.phase}; wait for it with -f"
