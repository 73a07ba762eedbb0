"""`runyard results`: what the tasks of an experiment have given, from the status of their units."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from runyard.cli import layout, paint, slots, view
from runyard.cli.cells import Segment, clean
from runyard.cli.errors import FAILED, not_found
from runyard.cli.logs import Wanted, chosen
from runyard.cli.session import Session
from runyard.kube.client import EXPERIMENTS, UNITS, KubeClient, Object

_HEAD: Final = ("TASK", "KIND", "NAME", "VALUE", "SIZE", "DIGEST")
_LEAST: Final = (12, 8, 8, 24, 4, 8)
_VALUE, _DIGEST = 3, 5
_STEPS: Final = ("KiB", "MiB", "GiB", "TiB")

Result = dict[str, Any]


def run(session: Session, name: str, task: str | None, *, output: str | None) -> int:
    """Prints the results; 1 when the task that was named has given neither output nor artifact."""
    client = session.connect()
    experiment = client.find(EXPERIMENTS, client.namespace, name)
    if experiment is None:
        raise not_found(client, name)
    wanted = chosen(experiment, Wanted(name, task))
    found = results(experiment, _units(client, wanted), wanted)
    if output is not None:
        _print(session, name, client.namespace, found, output)
    else:
        rows = [row for each in found for row in _rows(each)]
        if rows:
            lines = layout.table(_HEAD, rows, session.width, _LEAST, (_DIGEST, _VALUE, 0))
            session.out.write(paint.text(lines, colour=session.colour))
    given = [each for each in found if each["outputs"] or each["artifacts"]]
    if not given:
        for line in _explained(found, wanted):
            session.note(line)
    return FAILED if task is not None and not given else 0


def _units(client: KubeClient, wanted: Wanted) -> list[Object]:
    units = client.list_objects(
        UNITS, client.namespace, f"{view.LABEL_EXPERIMENT}={wanted.experiment}"
    )
    return [each for each in units if wanted.task in (None, view.task_of(each))]


def results(experiment: Object, units: Sequence[Object], wanted: Wanted) -> list[Result]:
    """What each task, or member of a matrix, has given so far, in the order of the spec."""
    staged = (experiment.get("status") or {}).get("code") or {}
    return [_result(slot, staged) for slot in wanted.slots(experiment, units)]


def _result(slot: slots.Slot, staged: Mapping[str, Any]) -> Result:
    status = slot.status
    attempts = status.get("attempts") or []
    found: Result = {"task": slot.task}
    if slot.index is not None:
        found["member"] = slot.index
    found["phase"] = slot.phase
    found["outputs"] = status.get("outputs") or []
    found["artifacts"] = status.get("artifacts") or []
    code = code_of(((slot.unit or {}).get("spec") or {}).get("code") or {}, staged)
    if code:
        found["code"] = code
    logs = [
        {"attempt": each["number"], **each["log"]}
        for each in attempts
        if each.get("log") is not None
    ]
    if logs:
        found["logs"] = logs
    return found


def code_of(code: Mapping[str, Any], staged: Mapping[str, Any]) -> dict[str, str]:
    """By which the code is found again: where it came from, and its commit or digest."""
    kind = next(iter(code), None)
    if kind is None:
        return {}
    source: Mapping[str, Any] = code[kind] if isinstance(code[kind], Mapping) else {}
    where = source.get("url") or source.get("claimName") or source.get("name") or ""
    known = {
        "source": kind,
        "location": "/".join(filter(None, (where, source.get("subPath")))),
        "commit": source.get("commit") or (staged.get("commit") if kind == "git" else ""),
        "digest": source.get("digest") or staged.get("digest"),
    }
    return {key: str(value) for key, value in known.items() if value}


def _rows(result: Result) -> Iterator[list[Segment]]:
    name = result["task"] if "member" not in result else f"{result['task']}[{result['member']}]"

    def row(
        kind: str, what: str, value: str, size: int | None, digest: str | None
    ) -> list[Segment]:
        shown = "" if size is None else sized(size)
        return [
            (name, ""),
            (kind, "dim"),
            (what, ""),
            (clean(value).replace("\n", " "), ""),
            (shown, ""),
            (digest or "", "dim"),
        ]

    for each in result["outputs"]:
        yield row("output", each["name"], each["value"], None, None)
    for each in result["artifacts"]:
        place = each.get("uri") or each.get("path") or ""
        yield row("artifact", each["name"], place, each.get("sizeBytes"), each.get("digest"))
    code = result.get("code") or {}
    if code:
        value = " @ ".join(filter(None, (code.get("location"), code.get("commit"))))
        yield row("code", code["source"], value, None, code.get("digest"))
    for each in result.get("logs") or []:
        value = each.get("location") or each.get("message") or ""
        number = f"attempt {each['attempt']}"
        yield row("log", number, value, each.get("sizeBytes"), each.get("digest"))


def sized(size: int) -> str:
    """A number of bytes as people read it: 17 B, 1.2 MiB."""
    if size < 1024:
        return f"{size} B"
    amount = float(size)
    for step in _STEPS:
        amount /= 1024
        if amount < 1023.95 or step == _STEPS[-1]:
            break
    return f"{amount:.1f} {step}"


def _explained(found: Sequence[Result], wanted: Wanted) -> Iterator[str]:
    if wanted.task is None:
        yield "no task has given an output or an artifact"
    elif not found:
        yield f"{wanted.task} has no member {wanted.member}"
    else:
        phases = ", ".join(sorted({each["phase"] for each in found}))
        yield (
            f"{wanted.task} has given no output and no artifact (it is {phases}); tasks name them"
            " in spec.tasks[].outputs and artifacts"
        )


def _print(session: Session, name: str, namespace: str, found: list[Result], output: str) -> None:
    document = {"experiment": name, "namespace": namespace, "results": found}
    if output == "json":
        session.say(json.dumps(document, indent=2))
        return
    import yaml

    session.out.write(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
