"""`runyard suspend`, `resume`, `approve` and `reject`: changes of a running experiment's spec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from runyard.cli import slots, telling
from runyard.cli.errors import USAGE, CliError, not_found, suggestion
from runyard.cli.session import Session
from runyard.kube.client import EXPERIMENTS, KubeClient, Object
from runyard.kube.errors import ApiError

_TRIES: Final = 5

Edit = Callable[[Object], Object]
"""From an experiment to the fields of its spec that change; raises CliError."""


def suspend(session: Session, name: str, tasks: Sequence[str]) -> int:
    """Lets nothing new start, and frees what the backends can free."""

    def edit(experiment: Object) -> Object:
        _check_tasks(experiment, tasks)
        if not tasks:
            return {"suspend": True}
        return {"suspendTasks": [*dict.fromkeys([*_suspended(experiment), *tasks])]}

    _change(session, name, edit, f"suspended{_of(tasks)}")
    return 0


def resume(session: Session, name: str, tasks: Sequence[str]) -> int:
    """Lets what was suspended go on, and says what is still held."""

    def edit(experiment: Object) -> Object:
        _check_tasks(experiment, tasks)
        if not tasks:
            return {"suspend": False}
        return {"suspendTasks": [each for each in _suspended(experiment) if each not in tasks]}

    after = _change(session, name, edit, f"resumed{_of(tasks)}")
    still = _suspended(after)
    if tasks and after["spec"].get("suspend"):
        session.note(f"all of {name} is still suspended: runyard resume {name}")
    elif not tasks and still:
        held = ", ".join(still)
        session.note(f"still suspended one by one: {held}: runyard resume {name} {' '.join(still)}")
    return 0


def judge(session: Session, name: str, task: str, verdict: str, message: str) -> int:
    """Writes an approver's verdict on a task that waits for one."""

    def edit(experiment: Object) -> Object:
        _check_tasks(experiment, [task])
        found = {each.name: each for each in slots.tasks(experiment, [], over=False)}[task]
        if found.spec.get("approval") is None:
            raise CliError(f"the task {task!r} needs no approval")
        before = telling.verdict(experiment["spec"], task)
        if found.started:
            said = f" ({before})" if before else ""
            raise CliError(f"the task {task!r} waits for no verdict any more{said}")
        others = [each for each in _approvals(experiment) if each["task"] != task]
        entry = {"task": task, "verdict": verdict} | ({"message": message} if message else {})
        return {"approvals": [*others, entry]}

    word = "approved" if verdict == "Approve" else "rejected"
    _change(session, name, edit, f"{word}: {task}", ended_is_error=True)
    return 0


def _change(
    session: Session, name: str, edit: Edit, done: str, *, ended_is_error: bool = False
) -> Object:
    """Changes the spec as `edit` says; on the way others may change it too. The new object."""
    client = session.connect()
    for _ in range(_TRIES):
        experiment = client.find(EXPERIMENTS, client.namespace, name)
        if experiment is None:
            raise not_found(client, name)
        phase = (experiment.get("status") or {}).get("phase") or "Pending"
        if phase in slots.TERMINAL:
            said = f"experiment.runyard.dev/{name} has ended already: {phase}"
            if ended_is_error:
                raise CliError(said)
            session.say(said)
            return experiment
        after = _patched(client, experiment, edit(experiment))
        if after is not None:
            session.say(f"experiment.runyard.dev/{name} {done}")
            return after
    raise CliError(f"the experiment {name!r} is being changed by others all the time", "try again")


def _patched(client: KubeClient, experiment: Object, fields: Object) -> Object | None:
    """The experiment with the fields; None when it has changed since it was read."""
    spec = experiment["spec"]
    if all(spec.get(key) == value for key, value in fields.items()):
        return experiment
    metadata = experiment["metadata"]
    # Lists are replaced whole: without this, what somebody else put in meanwhile would be lost.
    patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "spec": fields}
    try:
        return client.merge(EXPERIMENTS, client.namespace, metadata["name"], patch)
    except ApiError as error:
        if error.code == 409:
            return None
        raise


def _check_tasks(experiment: Object, tasks: Sequence[str]) -> None:
    spec = experiment["spec"]
    known = [each["name"] for each in [*spec["tasks"], *(spec.get("finally") or [])]]
    for task in tasks:
        if task not in known:
            raise CliError(
                f"the experiment {experiment['metadata']['name']!r} has no task {task!r}",
                suggestion(task, known) or f"its tasks are: {', '.join(known)}",
                USAGE,
            )


def _suspended(experiment: Object) -> list[str]:
    return list(experiment["spec"].get("suspendTasks") or [])


def _approvals(experiment: Object) -> list[Object]:
    return list(experiment["spec"].get("approvals") or [])


def _of(tasks: Sequence[str]) -> str:
    return f": {', '.join(tasks)}" if tasks else ""
