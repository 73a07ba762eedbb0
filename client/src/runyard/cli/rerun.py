"""`runyard rerun`: a new experiment from an old one's resource, which takes over what succeeded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from runyard.cli.errors import FAILED, USAGE, CliError, not_found, suggestion
from runyard.cli.session import Session
from runyard.cli.slots import TERMINAL
from runyard.kube.client import EXPERIMENTS, PROFILES, KubeClient, Object
from runyard.kube.errors import ApiError

MAX_NAME: Final = 63
_TRIES: Final = 100
_NUMBERED: Final = re.compile(r"-rerun-\d+$")
_OF_ONE_RUN: Final = ("approvals", "cancel", "mode", "rerunOf", "suspend", "suspendTasks")
"""Fields of the spec that tell of the old run and not of what to run."""
_NOT_TAKEN: Final = ("kubernetes.io/", "k8s.io/", "argocd.argoproj.io/", "fluxcd.io/", "plan-of")


def run(
    session: Session,
    name: str,
    from_tasks: Sequence[str],
    new_name: str | None,
    *,
    recorded: bool,
    wait: bool,
    timeout: float | None,
) -> int:
    """Creates the rerun; with `recorded` its profiles are those with which the old one ran."""
    client = session.connect()
    old = client.find(EXPERIMENTS, client.namespace, name)
    if old is None:
        raise not_found(client, name)
    _check(old, from_tasks)
    phase = (old.get("status") or {}).get("phase") or "Pending"
    if phase not in TERMINAL:
        session.note(f"{name} has not ended: only what has succeeded by now is taken over")
    changed = [] if recorded else _changed_profiles(client, old)
    made = _create(client, old, from_tasks, new_name, recorded)
    session.say(f"experiment.runyard.dev/{made['metadata']['name']} created, a rerun of {name}")
    if changed:
        session.note(
            f"changed since {name} ran: profile {', '.join(changed)}; the rerun takes the new"
            " values (the old ones with --recorded-profiles)"
        )
    if not wait:
        return 0
    from runyard.cli.follow import failures, follow

    last, code = follow(session, client, made["metadata"]["name"], timeout)
    for line in failures(last):
        session.say(line)
    return code


def _check(old: Object, from_tasks: Sequence[str]) -> None:
    known = [each["name"] for each in old["spec"]["tasks"]]
    for task in from_tasks:
        if task not in known:
            raise CliError(
                f"--from {task}: the experiment {old['metadata']['name']!r} has no such task",
                suggestion(task, known) or f"its tasks are: {', '.join(known)}",
                USAGE,
            )


def _create(
    client: KubeClient,
    old: Object,
    from_tasks: Sequence[str],
    new_name: str | None,
    recorded: bool,
) -> Object:
    """The new experiment, by the name that was asked for or the first free one."""
    base = _NUMBERED.sub("", old["metadata"]["name"])
    names = [new_name] if new_name else [numbered(base, n) for n in range(1, _TRIES + 1)]
    for each in names:
        manifest = experiment(old, each, from_tasks)
        profiles = recorded_profiles(old, each, manifest["spec"]) if recorded else []
        try:
            made = client.create(EXPERIMENTS, client.namespace, manifest)
        except ApiError as error:
            if error.reason == "AlreadyExists" and new_name is None:
                continue
            if error.reason == "AlreadyExists":
                raise CliError(
                    f"there is an experiment {each!r} already", "choose another name", FAILED
                ) from error
            raise
        _make_profiles(client, made, profiles)
        return made
    raise CliError(f"there are {_TRIES} reruns of {base!r} already", "name this one with --as")


def numbered(base: str, number: int) -> str:
    """The name of a rerun, at most 63 characters."""
    end = f"-rerun-{number}"
    return base[: MAX_NAME - len(end)].rstrip("-") + end


def experiment(old: Object, name: str, from_tasks: Sequence[str]) -> dict[str, Any]:
    """The manifest of the rerun: all that the old one ran, from its resource alone."""
    spec = {key: value for key, value in old["spec"].items() if key not in _OF_ONE_RUN}
    rerun_of: Object = {"name": old["metadata"]["name"]}
    if from_tasks:
        rerun_of["fromTasks"] = list(dict.fromkeys(from_tasks))
    labels = {
        key: value
        for key, value in (old["metadata"].get("labels") or {}).items()
        if not any(each in key for each in _NOT_TAKEN)
    }
    return {
        "apiVersion": EXPERIMENTS.api_version,
        "kind": EXPERIMENTS.kind,
        "metadata": {"name": name, **({"labels": labels} if labels else {})},
        "spec": {**spec, "rerunOf": rerun_of},
    }


def _changed_profiles(client: KubeClient, old: Object) -> list[str]:
    """The profiles that are not any more what the old experiment was made with."""
    changed = []
    for used in (old.get("status") or {}).get("profiles") or []:
        try:
            now = client.find(PROFILES, used["namespace"], used["name"])
        except ApiError:
            continue  # a shared one that this user may not read: nothing is known
        if now is None or now["spec"] != used["spec"]:
            changed.append(used["name"])
    return changed


def recorded_profiles(old: Object, name: str, spec: dict[str, Any]) -> list[Object]:
    """Copies of the old profiles under names of the rerun's own, put into `spec` in their place."""
    used = (old.get("status") or {}).get("profiles") or []
    names = {each["name"]: f"{name}-{each['name']}"[:253] for each in used}
    if not names:
        return []

    def renamed(holder: Object, field: str) -> Object:
        own = holder.get(field)
        return {**holder, field: names[own]} if own in names else holder

    for part in ("tasks", "finally"):
        if part in spec:
            spec[part] = [renamed(each, "profile") for each in spec[part]]
    if "defaults" in spec:
        spec["defaults"] = renamed(spec["defaults"], "profile")
    return [
        {
            "apiVersion": PROFILES.api_version,
            "kind": PROFILES.kind,
            "metadata": {"name": names[each["name"]]},
            "spec": renamed(each["spec"], "extends"),
        }
        for each in used
    ]


def _make_profiles(client: KubeClient, made: Object, profiles: Sequence[Object]) -> None:
    """Makes them after the experiment, which owns them and waits for them."""
    owner = {
        "apiVersion": EXPERIMENTS.api_version,
        "kind": EXPERIMENTS.kind,
        "name": made["metadata"]["name"],
        "uid": made["metadata"]["uid"],
    }
    for each in profiles:
        each["metadata"]["ownerReferences"] = [owner]
        client.create(PROFILES, client.namespace, each)
