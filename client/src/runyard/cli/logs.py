"""`runyard logs`: what the pods of an experiment's tasks write, of all ranks, while they do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from runyard.cli import view
from runyard.cli.cells import clean
from runyard.cli.errors import FAILED, CliError, not_found, suggestion
from runyard.cli.logstream import LogWriter, Options, containers_of, read_once
from runyard.cli.session import Session
from runyard.kube.client import EXPERIMENTS, PODS, UNITS, KubeClient, Object

LABEL_RANK: Final = "batch.kubernetes.io/job-completion-index"
LABEL_ATTEMPT: Final = "runyard.dev/attempt"
LABEL_MEMBER: Final = "runyard.dev/member"
LABEL_UNIT: Final = "runyard.dev/unit"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose lines, and which of them."""

    experiment: str
    task: str | None = None
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
        return f"{view.LABEL_EXPERIMENT}={self.experiment}{task}"


@dataclass(frozen=True, slots=True)
class Source:
    """One container of a pod as a place that lines come from."""

    task: str
    rank: int
    pod: Object
    container: str
    role: str = ""

    @property
    def prefix(self) -> str:
        """What tells its lines from those of others: of a group the role, else the rank."""
        member = (self.pod["metadata"].get("labels") or {}).get(LABEL_MEMBER)
        task = self.task if member is None else f"{self.task}-{member}"
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
    tasks = [task["name"] for task in experiment["spec"]["tasks"]]
    if wanted.task is not None and wanted.task not in tasks:
        raise CliError(
            f"the experiment {wanted.experiment!r} has no task {wanted.task!r}",
            suggestion(wanted.task, tasks) or f"its tasks are: {', '.join(tasks)}",
        )
    if follow:
        from runyard.cli.logfollow import follow_logs

        return follow_logs(session, client, experiment, wanted)
    return _print(session, client, experiment, wanted)


def _print(session: Session, client: KubeClient, experiment: Object, wanted: Wanted) -> int:
    units = units_by_task(
        experiment,
        client.list_objects(
            UNITS, client.namespace, f"{view.LABEL_EXPERIMENT}={wanted.experiment}"
        ),
    )
    pods = client.list_objects(PODS, client.namespace, wanted.selector)
    found = sources(experiment, pods, wanted)
    chosen = (
        [wanted.task] if wanted.task else [task["name"] for task in experiment["spec"]["tasks"]]
    )
    writer = LogWriter(session.out, colour=session.colour)
    several = len(found) > 1 or wanted.task is None
    printed = False
    for task in chosen:
        mine = [each for each in found if each.task == task]
        for each in mine:
            prefix = each.prefix if several else ""
            read_once(client, each.pod, each.container, wanted.options, writer.to(prefix))
            printed = True
        if not mine and print_last_lines(session, task, units.get(task), several, wanted):
            printed = True
    if printed:
        return 0
    _explain_nothing(session, wanted, chosen, units)
    return FAILED


def units_by_task(experiment: Object, units: Iterable[Object]) -> dict[str, Object]:
    """The experiment's own units by the names of their tasks."""
    return {view.task_of(each): dict(each) for each in view.own_units(experiment, units)}


def sources(experiment: Object, pods: Iterable[Object], wanted: Wanted) -> list[Source]:
    """The newest pod of every task, member of a matrix and rank, in the order of the spec; of the
    pod of a group, every role."""
    order = {task["name"]: at for at, task in enumerate(experiment["spec"]["tasks"])}
    newest: dict[tuple[int, int, str, int], tuple[str, Object]] = {}
    for pod in sorted(pods, key=_made):
        labels = pod["metadata"].get("labels") or {}
        task = labels.get(view.LABEL_TASK) or ""
        rank = int(labels.get(LABEL_RANK) or 0)
        if task in order and wanted.rank in (None, rank):
            member = labels.get(LABEL_MEMBER) or ""
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


def print_last_lines(
    session: Session, task: str, unit: Object | None, several: bool, wanted: Wanted
) -> bool:
    """The last lines in the unit's status, for when its pods are gone; whether there are any."""
    attempts = ((unit or {}).get("status") or {}).get("attempts") or []
    lines: Sequence[str] = attempts[-1].get("lastLogLines") or [] if attempts else []
    if not lines:
        return False
    session.note(f"the pods of {task} are gone: these are the last lines that its status holds")
    shown = lines if wanted.tail is None else lines[max(0, len(lines) - wanted.tail) :]
    writer = LogWriter(session.out, colour=session.colour).to(task if several else "")
    for line in shown:
        writer(clean(line).encode())
    return True


def _explain_nothing(
    session: Session, wanted: Wanted, tasks: Sequence[str], units: dict[str, Object]
) -> None:
    if wanted.rank is not None:
        session.note(f"there is no pod of rank {wanted.rank}")
    for task in tasks:
        phase = view.phase_of(units.get(task))
        if phase in view.TERMINAL:
            session.note(f"{task} has ended ({phase}), its pods are gone and left no lines")
        else:
            session.note(f"{task} has no log yet: it is {phase}; wait for it with -f")
