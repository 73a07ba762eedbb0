"""`runyard plan`: lets the operator render a copy of the experiment, and compares it."""

from __future__ import annotations

import queue
import re
import secrets
import string
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from runyard.cli import paint
from runyard.cli.errors import TIMED_OUT, USAGE, CliError, explain
from runyard.cli.manifests import Manifest, read
from runyard.cli.params import override
from runyard.cli.plandiff import Planned, diff
from runyard.cli.refusals import refusal
from runyard.cli.session import Session
from runyard.cli.slots import TERMINAL
from runyard.kube.client import CONFIG_MAPS, EXPERIMENTS, KubeClient, Object
from runyard.kube.errors import KubeError
from runyard.kube.watch import Broken, Event, Snapshot, Watch, pump

DIFFERENT: Final = 1
PLAN_FAILED: Final = 4
LABEL_PLAN_OF: Final = "runyard.dev/plan-of"
_LETTERS: Final = string.ascii_lowercase + string.digits
_RANDOM: Final = 5
_TTL_SECONDS: Final = 600
"""The operator deletes a copy that long after its end, should this program not come to do it."""
_OF_THE_RUN: Final = ("approvals", "cancel", "suspend", "suspendTasks", "ttlSecondsAfterFinished")
_STORED: Final = re.compile(r",? see ConfigMap [-.a-z0-9]+")
_STYLES: Final = {"+++": "bold", "---": "bold", "+": "Succeeded", "-": "Failed", "@": "Queued"}


def run(
    session: Session,
    sources: Sequence[str],
    *,
    params: Sequence[str],
    output: str,
    timeout: float,
) -> int:
    """Prints the plans; 0, DIFFERENT from what exists, or PLAN_FAILED.

    Raises:
        CliError: with PLAN_FAILED in place of 1, which means a difference here.
    """
    manifests = read(sources)
    override(manifests, params)
    experiments = [each for each in manifests if each.kind == EXPERIMENTS.kind]
    if not experiments:
        raise CliError(f"{', '.join(sources)}: no Experiment to plan", code=USAGE)
    if len(experiments) < len(manifests):
        session.note("only experiments are planned; profiles are taken as the cluster has them")
    try:
        client = session.connect()
        codes = [_plan(session, client, each, output, timeout) for each in experiments]
    except KubeError as error:
        said = explain(error)
        raise CliError(str(said), said.hint, PLAN_FAILED) from error
    except CliError as error:
        code = PLAN_FAILED if error.code == DIFFERENT else error.code
        raise CliError(str(error), error.hint, code) from error
    return max(codes)


def _plan(
    session: Session, client: KubeClient, manifest: Manifest, output: str, timeout: float
) -> int:
    name = manifest.name
    client = client.within(manifest.item["metadata"].get("namespace") or client.namespace)
    running = client.find(EXPERIMENTS, client.namespace, name)
    with _copies(session, client) as copies:
        wanted = _submit(client, copies, manifest)
        compared = None if running is None else _submit_running(session, client, copies, running)
        deadline = time.monotonic() + timeout
        ended = _ended(client, wanted, deadline)
        texts = _texts(client, ended)
        for text in texts.values():
            session.say(text.rstrip("\n") + ("" if output == "yaml" else "\n"))
        if not _succeeded(ended):
            raise CliError(f"{name}: {_said(ended, name)}", code=PLAN_FAILED)
        if running is None or compared is None:
            if output != "yaml":
                session.note(f"{name}: {_said(ended, name)}; nothing of this name runs")
            return 0
        before = _ended(client, compared, deadline)
        old = _texts(client, before)
        if not _succeeded(before):
            session.note(f"the {name} that exists has no plan any more: {_said(before, name)}")
            old = texts
        lines = diff(
            name,
            _planned(before, running, old, running),
            _planned(ended, manifest.item, texts, ended),
        )
    if output != "yaml":
        _print_diff(session, lines)
    same = "the same as the one that exists" if not lines else "different from the one that exists"
    session.note(f"{name}: {_said(ended, name)}; {same}")
    return DIFFERENT if lines else 0


@contextmanager
def _copies(session: Session, client: KubeClient) -> Iterator[list[Object]]:
    """A list whose experiments are deleted at the end, whatever happens."""
    copies: list[Object] = []
    try:
        yield copies
    finally:
        for each in copies:
            metadata = each["metadata"]
            try:
                client.delete(EXPERIMENTS, client.namespace, metadata["name"], metadata["uid"])
            except KubeError as error:
                session.note(f"the copy {metadata['name']} is still there: {error}")


def copy_of(item: Mapping[str, Any], suffix: str) -> dict[str, Any]:
    """An experiment in mode Plan that shows the name of `item`."""
    name = item["metadata"]["name"]
    end = f"-plan-{suffix}"
    spec = {key: value for key, value in (item.get("spec") or {}).items() if key not in _OF_THE_RUN}
    return {
        "apiVersion": EXPERIMENTS.api_version,
        "kind": EXPERIMENTS.kind,
        "metadata": {
            "name": name[: 63 - len(end)].rstrip("-") + end,
            "labels": {LABEL_PLAN_OF: name},
        },
        "spec": {**spec, "mode": "Plan", "ttlSecondsAfterFinished": _TTL_SECONDS},
    }


def _create(client: KubeClient, copies: list[Object], item: Mapping[str, Any]) -> Object:
    suffix = "".join(secrets.choice(_LETTERS) for _ in range(_RANDOM))
    made = client.create(EXPERIMENTS, client.namespace, copy_of(item, suffix))
    copies.append(made)
    return made


def _submit(client: KubeClient, copies: list[Object], manifest: Manifest) -> Object:
    try:
        return _create(client, copies, manifest.item)
    except KubeError as error:
        raise CliError("\n".join(refusal(manifest, error)), code=PLAN_FAILED) from error


def _submit_running(
    session: Session, client: KubeClient, copies: list[Object], running: Object
) -> Object | None:
    try:
        return _create(client, copies, running)
    except KubeError as error:
        name = running["metadata"]["name"]
        session.note(f"the {name} that exists cannot be planned any more, nor compared: {error}")
        return None


def _ended(client: KubeClient, copy: Object, deadline: float) -> Object:
    """The copy once its plan is there, or once it is clear that there will be none."""
    name = copy["metadata"]["name"]
    events: queue.Queue[tuple[str, Event]] = queue.Queue()
    watch = Watch(client, EXPERIMENTS, client.namespace, {"fieldSelector": f"metadata.name={name}"})
    pump(watch, events, name)
    found: Object | None = copy
    try:
        while True:
            _, event = events.get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(event, Broken):
                raise event.error
            found = event.items.get(name) if isinstance(event, Snapshot) else None
            if found is not None and (_phase(found) in TERMINAL or _stalled(found)):
                return found
            if isinstance(event, Snapshot) and found is None:
                raise CliError(f"the copy {name} was deleted by somebody else")
    except queue.Empty:
        raise CliError(
            f"the operator has not made the plan in time: the copy {name} is"
            f" {_phase(found or copy)}",
            "is the operator running? runyard version",
            TIMED_OUT,
        ) from None
    finally:
        watch.stop()


def _texts(client: KubeClient, ended: Object) -> dict[str, str]:
    """The documents of the plan by file name; none where there is no plan."""
    place = ((ended.get("status") or {}).get("plan") or {}).get("configMap")
    found = client.find(CONFIG_MAPS, client.namespace, place) if place else None
    data = (found or {}).get("data") or {}
    spec = ended["spec"]
    order = [f"{each['name']}.yaml" for each in [*spec["tasks"], *(spec.get("finally") or [])]]
    return {key: data[key] for key in [*order, *data] if key in data}


def _planned(
    copy: Object, original: Mapping[str, Any], texts: Mapping[str, str], profiles: Object
) -> Planned:
    """The plan of a copy, with the fields that the copy has in place of the original's."""
    spec = {key: value for key, value in copy["spec"].items() if key not in ("mode", *_OF_THE_RUN)}
    ttl = (original.get("spec") or {}).get("ttlSecondsAfterFinished")
    if ttl is not None:
        spec["ttlSecondsAfterFinished"] = ttl
    return Planned(spec, (profiles.get("status") or {}).get("profiles") or [], texts)


def _phase(item: Object) -> str:
    return (item.get("status") or {}).get("phase") or "Pending"


def _succeeded(item: Object) -> bool:
    return _phase(item) == "Succeeded"


def _stalled(item: Object) -> bool:
    """Whether a human must act first, for example write a profile."""
    conditions = (item.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Stalled" and each["status"] == "True" for each in conditions)


def _said(item: Object, name: str) -> str:
    """The outcome in the operator's words, with the name that is meant.

    Where the plan is stored is left out: it goes with the copy.
    """
    status = item.get("status") or {}
    said = ": ".join(each for each in (status.get("reason"), status.get("message")) if each)
    return _STORED.sub("", said).replace(item["metadata"]["name"], name)


def _print_diff(session: Session, lines: Sequence[str]) -> None:
    styled = [[(line, _STYLES.get(line[:3]) or _STYLES.get(line[:1], ""))] for line in lines]
    session.out.write(paint.text(styled, colour=session.colour))
    session.out.flush()
