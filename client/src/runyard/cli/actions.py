"""`runyard cancel`, `runyard delete` and `runyard version`."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Final

from runyard import __version__
from runyard.cli.errors import TIMED_OUT, CliError, explain, is_missing_kind, not_found
from runyard.cli.session import Session
from runyard.cli.view import TERMINAL
from runyard.kube.client import DEPLOYMENTS, EXPERIMENTS, KubeClient, Object, base_path
from runyard.kube.errors import ApiError, KubeError
from runyard.kube.watch import Broken, Event, Snapshot, Watch, pump

_VERSION_SECONDS: Final = 4.0
_OPERATOR: Final = "app.kubernetes.io/name=runyard"


def cancel(session: Session, name: str, *, wait: bool, timeout: float | None) -> int:
    """Asks for the end of what runs; the operator does it, also when this program is gone."""
    client = session.connect()
    experiment = _existing(client, name)
    phase = (experiment.get("status") or {}).get("phase") or "Pending"
    if phase in TERMINAL:
        session.say(f"experiment.runyard.dev/{name} has ended already: {phase}")
        return 0
    # A merge patch: server-side apply by the same manager would drop what it does not repeat.
    client.merge(EXPERIMENTS, client.namespace, name, {"spec": {"cancel": True}})
    session.say(f"experiment.runyard.dev/{name} cancel requested")
    if wait:
        from runyard.cli.follow import follow

        last, _ = follow(session, client, name, timeout)
        return 0 if last.phase in TERMINAL else TIMED_OUT
    return 0


def delete(session: Session, name: str, *, wait: bool, timeout: float | None) -> int:
    """Deletes the experiment; the operator ends its jobs first."""
    client = session.connect()
    uid = _existing(client, name)["metadata"]["uid"]
    client.delete(EXPERIMENTS, client.namespace, name, uid)
    session.say(f"experiment.runyard.dev/{name} delete requested: its jobs are ended first")
    if not wait:
        return 0
    _wait_until_gone(client, name, uid, timeout, time.monotonic)
    session.say(f"experiment.runyard.dev/{name} deleted")
    return 0


def _existing(client: KubeClient, name: str) -> Object:
    found = client.find(EXPERIMENTS, client.namespace, name)
    if found is None:
        raise not_found(client, name)
    return found


def _wait_until_gone(
    client: KubeClient, name: str, uid: str, timeout: float | None, clock: Callable[[], float]
) -> None:
    events: queue.Queue[tuple[str, Event]] = queue.Queue()
    watch = Watch(client, EXPERIMENTS, client.namespace, {"fieldSelector": f"metadata.name={name}"})
    deadline = None if timeout is None else clock() + timeout
    pump(watch, events, name)
    try:
        while True:
            left = None if deadline is None else max(0.0, deadline - clock())
            _, event = events.get(timeout=left)
            if isinstance(event, Broken):
                raise event.error
            if isinstance(event, Snapshot):
                there = event.items.get(name)
                if there is None or there["metadata"]["uid"] != uid:
                    return
    except queue.Empty:
        raise CliError(
            f"the experiment {name!r} is still being deleted after {timeout:g} s",
            "is the operator running? It ends the jobs and then lets the experiment go:"
            " runyard version",
            TIMED_OUT,
        ) from None
    finally:
        watch.stop()


def version(session: Session, *, client_only: bool) -> int:
    """Says the versions there are; a cluster that cannot be reached is no failure."""
    session.say(f"Client:   runyard {__version__}")
    if client_only:
        return 0
    try:
        client = session.connect()
        server = client.read("/version", _VERSION_SECONDS)
    except KubeError as error:
        session.say(f"Server:   not known: {explain(error)}")
        return 0
    session.say(f"Server:   Kubernetes {server.get('gitVersion', 'of unknown version')}")
    session.say(f"API:      {_api(client)}")
    session.say(f"Operator: {_operator(client)}")
    return 0


def _api(client: KubeClient) -> str:
    try:
        found = client.read(base_path(EXPERIMENTS.api_version), _VERSION_SECONDS)
    except ApiError as error:
        if is_missing_kind(error) or error.code == 404:
            return f"{EXPERIMENTS.api_version} is not installed"
        return f"not known: {explain(error)}"
    except KubeError as error:
        return f"not known: {explain(error)}"
    kinds = sorted(each["kind"] for each in found["resources"] if "/" not in each["name"])
    return f"{EXPERIMENTS.api_version} ({', '.join(kinds)})"


def _operator(client: KubeClient) -> str:
    try:
        found = client.list_objects(DEPLOYMENTS, None, _OPERATOR)
    except KubeError as error:
        return f"not known: {explain(error)}"
    if not found:
        return "not found in this cluster"
    return "; ".join(_deployment(each) for each in found)


def _deployment(item: Object) -> str:
    metadata, status = item["metadata"], item.get("status") or {}
    images = [each["image"] for each in item["spec"]["template"]["spec"]["containers"]]
    release = (metadata.get("labels") or {}).get("app.kubernetes.io/version")
    ready = f"{status.get('readyReplicas') or 0}/{item['spec'].get('replicas', 1)} ready"
    return (
        f"{release or 'unknown version'} ({', '.join(images)}; {ready}, namespace"
        f" {metadata['namespace']})"
    )
