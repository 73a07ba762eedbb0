"""What a bundle is called, and the objects that it becomes. Pure: the operator reads it, too."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from runyard.api.constants import (
    ANNOTATION_DIGEST,
    ANNOTATION_SIZE,
    CHUNK_BYTES,
    GROUP,
    LABEL_BUNDLE,
    LABEL_MANAGED_BY,
    MANAGED_BY,
    MAX_CONFIGMAP_BUNDLE_BYTES,
)

LABEL_PART: Final = f"{GROUP}/bundle-part"
"""On the ConfigMaps that hold the bytes; with a label of their own, manifests list without them."""
LABEL_TICKET: Final = f"{GROUP}/upload-ticket"
ANNOTATION_PART_DIGEST: Final = f"{GROUP}/part-digest"
ANNOTATION_PUSHED: Final = f"{GROUP}/pushed-at"
"""When a push last found the bundle in place: the sweep counts from then."""
ANNOTATION_PROOF: Final = f"{GROUP}/proof"
"""Written by the code store alone: the content itself was sent from this namespace."""

PART_KEY: Final = "part"
STORE_SERVICE: Final = "runyard-store"
STORE_PORT: Final = "http"
TICKET_HEADER: Final = "X-Runyard-Ticket"
SIZE_HEADER: Final = "X-Runyard-Size"
TICKET_SECONDS: Final = 3600.0
UNOWNED_SECONDS: Final = 3600.0
"""How long a bundle that no experiment owns is kept after its last push."""

_DIGITS: Final = 16

Object = dict[str, Any]


class Location(StrEnum):
    """Where the bytes of a bundle are."""

    CONFIG_MAPS = "ConfigMaps"
    STORE = "Store"


class Refusal(StrEnum):
    """Why the code store says no: the `reason` of its answers, which are Status objects."""

    ABSENT = "BundleAbsent"
    TICKET = "TicketRefused"
    CONTENT = "ContentRefused"
    FULL = "NamespaceFull"
    DISK_FULL = "StoreFull"
    TAKEN = "NameTaken"
    TOKEN = "TokenRefused"  # noqa: S105 - a reason
    NO_RIGHT = "StoreLacksRight"
    NO_ANSWER = "StoreHasNoAnswer"
    """A passing trouble: worth another try."""


def location(size: int) -> Location:
    """Where a bundle of so many bytes is kept: by its size alone, so that nobody need look."""
    return Location.CONFIG_MAPS if size <= MAX_CONFIGMAP_BUNDLE_BYTES else Location.STORE


def short(digest: str) -> str:
    """The digits of `sha256:<hex>` that names carry; the whole digest verifies them."""
    return digest.removeprefix("sha256:")[:_DIGITS]


def manifest_name(digest: str) -> str:
    """The ConfigMap that says that the bundle is there, and whole."""
    return f"code-{short(digest)}"


def part_count(size: int) -> int:
    """How many ConfigMaps hold a bundle of so many bytes; none for one in the store."""
    return -(-size // CHUNK_BYTES) if location(size) is Location.CONFIG_MAPS else 0


def part_names(digest: str, size: int) -> tuple[str, ...]:
    """The ConfigMaps that hold the bytes, in their order."""
    return tuple(f"{manifest_name(digest)}-{index}" for index in range(part_count(size)))


def manifest(digest: str, size: int, *, now: datetime, proof: str | None = None) -> Object:
    """The ConfigMap that is written last."""
    annotations = {
        ANNOTATION_DIGEST: digest,
        ANNOTATION_SIZE: str(size),
        ANNOTATION_PUSHED: timestamp(now),
        **({ANNOTATION_PROOF: proof} if proof is not None else {}),
    }
    data = {"location": location(size).value, "parts": str(part_count(size))}
    labels = {LABEL_BUNDLE: short(digest)}
    return {**_config_map(manifest_name(digest), labels, annotations), "data": data}


def part(digest: str, index: int, content: bytes, *, now: datetime) -> Object:
    """The ConfigMap of one piece."""
    annotations = {
        ANNOTATION_DIGEST: digest,
        ANNOTATION_PART_DIGEST: part_digest(content),
        ANNOTATION_PUSHED: timestamp(now),
    }
    made = _config_map(f"{manifest_name(digest)}-{index}", {LABEL_PART: short(digest)}, annotations)
    return {**made, "binaryData": {PART_KEY: base64.b64encode(content).decode()}}


def part_digest(content: bytes) -> str:
    """The digest of one piece, by which an upload recognises its own."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def ticket(name: str, digest: str, token: str) -> Object:
    """The right to send one bundle from one namespace: who may create it there may send.

    The token itself goes to the store alone, so that reading the ConfigMap is of no use.
    """
    made = _config_map(name, {LABEL_TICKET: "true"}, {})
    return {**made, "data": {"digest": digest, "tokenSha256": token_digest(token)}}


def token_digest(token: str) -> str:
    """What a ticket says of its token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _config_map(name: str, labels: dict[str, str], annotations: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "labels": {LABEL_MANAGED_BY: MANAGED_BY, **labels},
            **({"annotations": annotations} if annotations else {}),
        },
        "immutable": True,
    }


def annotation(obj: Mapping[str, Any], name: str) -> str:
    """An annotation of a stored object; empty when it has none."""
    return str((obj["metadata"].get("annotations") or {}).get(name, ""))


def size_of(manifest_map: Mapping[str, Any]) -> int:
    """The bytes of the archive that a manifest names; 0 when it does not say."""
    said = annotation(manifest_map, ANNOTATION_SIZE)
    return int(said) if said.isdecimal() else 0


def timestamp(moment: datetime) -> str:
    """As the API server writes them: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def last_push(obj: Mapping[str, Any], now: datetime) -> datetime:
    """When the object was made or last pushed again; a clock that is far ahead is not believed."""
    created = _moment(obj["metadata"].get("creationTimestamp", "")) or now
    pushed = _moment(annotation(obj, ANNOTATION_PUSHED))
    if pushed is None or (pushed - now).total_seconds() > UNOWNED_SECONDS:
        return created
    return max(created, pushed)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
