"""Pushing code, and looking at what was pushed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypedDict

from runyard.api.constants import ANNOTATION_DIGEST, LABEL_BUNDLE
from runyard.bundles import names
from runyard.bundles.archive import fingerprint, pack
from runyard.bundles.guard import human
from runyard.bundles.listing import ArchiveError
from runyard.bundles.store import StoreClient
from runyard.bundles.upload import Pushed, Pusher
from runyard.cli.errors import CliError
from runyard.cli.session import Session
from runyard.kube.client import CONFIG_MAPS, KubeClient

_BAR: Final = 24
_DRAW_SECONDS: Final = 0.1


class _Limits(TypedDict):
    allow_secrets: bool
    max_content_bytes: int


def run_push(
    session: Session,
    folder: Path,
    *,
    allow_secrets: bool,
    max_size: int,
    store_namespace: str,
    output: str,
) -> int:
    """Packs, sends what is missing, and prints the fragment.

    Raises:
        CliError: the folder cannot be packed.
        KubeError: it cannot be sent.
    """
    client = session.connect()
    bar = _Bar(session)
    pusher = Pusher(client, StoreClient(store_namespace), progress=bar.show)
    limits: _Limits = {"allow_secrets": allow_secrets, "max_content_bytes": max_size}
    try:
        # To compress takes longer than to ask whether it is there.
        pushed = pusher.known(fingerprint(folder, **limits))
        if pushed is None:
            with pack(folder, **limits) as archive:
                session.note(
                    f"{archive.files} files, {human(archive.content_bytes)}, packed"
                    f" {human(archive.size)}: {archive.digest}"
                )
                pushed = pusher.push(archive)
    except (ArchiveError, OSError) as error:
        raise CliError(str(error)) from error
    finally:
        bar.end()
    session.note(_told(pushed, client.namespace))
    bundle = {"digest": pushed.digest, "size": pushed.size}
    if output == "json":
        session.say(json.dumps({"code": {"bundle": bundle}}))
    else:
        session.say("code:\n  bundle:")
        for key, value in bundle.items():
            session.say(f"    {key}: {value}")
    return 0


def _told(pushed: Pushed, namespace: str) -> str:
    place = {
        names.Location.CONFIG_MAPS: "in ConfigMaps",
        names.Location.STORE: "in the code store",
    }[pushed.location]
    if pushed.sent == 0:
        return f"unchanged: it is {place} of the namespace {namespace} already"
    return f"sent {human(pushed.sent)}: it is {place} for the namespace {namespace}"


class _Bar:
    """How far an upload is, on one line of a terminal; nothing elsewhere."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._on = session.err.isatty() and session.environ.get("TERM") != "dumb"
        self._drawn = 0.0

    def show(self, sent: int, size: int) -> None:
        """Draws, but not at each call."""
        moment = time.monotonic()
        if not self._on or (moment - self._drawn < _DRAW_SECONDS and sent < size):
            return
        self._drawn = moment
        filled = _BAR * sent // max(size, 1)
        bar = "#" * filled + "." * (_BAR - filled)
        self._session.err.write(f"\r[{bar}] {human(sent)} of {human(size)} ")
        self._session.err.flush()

    def end(self) -> None:
        """Leaves the line."""
        if self._drawn:
            self._session.err.write("\n")
            self._session.err.flush()


def run_list(session: Session, *, output: str | None) -> int:
    """One line for each bundle of the namespace."""
    client = session.connect()
    found = [_facts(each) for each in _manifests(client)]
    if output == "json":
        session.say(json.dumps({"items": found}))
        return 0
    if not found:
        session.note(f"no bundles in the namespace {client.namespace}")
        return 0
    session.say(f"{'NAME':<24}{'SIZE':>10}  {'WHERE':<11}{'OWNERS':>6}  DIGEST")
    for each in found:
        size = human(each["size"])
        row = f"{each['name']:<24}{size:>10}  {each['location']:<11}{each['owners']:>6}"
        session.say(f"{row}  {each['digest']}")
    return 0


def run_prune_dry(session: Session) -> int:
    """The bundles without an owner, and from when on the operator deletes them."""
    client = session.connect()
    now = session.now()
    idle = [each for each in _manifests(client) if not _owners(each)]
    if not idle:
        session.note(f"nothing to delete: experiments own all bundles of {client.namespace}")
    for each in idle:
        due = names.last_push(each, now) + timedelta(seconds=names.UNOWNED_SECONDS)
        when = "now" if due <= now else f"from {names.timestamp(due)}"
        session.say(f"{each['metadata']['name']:<24}{human(names.size_of(each)):>10}  {when}")
    return 0


def _manifests(client: KubeClient) -> list[dict[str, Any]]:
    found = client.list_objects(CONFIG_MAPS, client.namespace, LABEL_BUNDLE)
    # Those of an experiment's inline files bear the label, too, and are not pushed.
    return [each for each in found if "location" in (each.get("data") or {})]


def _facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": manifest["metadata"]["name"],
        "digest": names.annotation(manifest, ANNOTATION_DIGEST),
        "size": names.size_of(manifest),
        "location": manifest["data"]["location"],
        "owners": len(_owners(manifest)),
        "created": manifest["metadata"]["creationTimestamp"],
    }


def _owners(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    owners: list[dict[str, Any]] = manifest["metadata"].get("ownerReferences") or []
    return owners
