"""What pushes leave behind: bundles that nothing owns, parts without a manifest, old tickets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from runyard.api.constants import LABEL_BUNDLE
from runyard.bundles import names
from runyard_operator.kube.api import KubeApi
from runyard_operator.kube.errors import Conflict, KubeError
from runyard_operator.kube.resources import Ref

logger = logging.getLogger(__name__)

FIRST_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 600.0

_Found = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Doomed:
    """A ConfigMap to delete, if it is still as it was when it was looked at."""

    ref: Ref
    uid: str
    version: str


def doomed(
    manifests: Iterable[_Found], parts: Iterable[_Found], tickets: Iterable[_Found], now: datetime
) -> list[Doomed]:
    """What to delete. Pure.

    Args:
        manifests: ConfigMaps of bundles.
        parts: ConfigMaps that hold the bytes; metadata is enough.
        tickets: rights to upload; metadata is enough.
        now: the wall clock.
    """
    stale = [
        each
        for each in (*manifests, *parts)
        # A part belongs to its manifest, and goes with it; without one its upload never ended.
        if not each["metadata"].get("ownerReferences") and _pushed_and_left(each, now)
    ]
    expired = [
        each
        for each in tickets
        if (now - names.last_push(each, now)).total_seconds() > names.TICKET_SECONDS
    ]
    return [_doom(each) for each in (*stale, *expired)]


def _pushed_and_left(found: _Found, now: datetime) -> bool:
    annotated = names.annotation(found, names.ANNOTATION_PUSHED)
    age = (now - names.last_push(found, now)).total_seconds()
    # Without the annotation it is no pushed bundle: an experiment's inline files have an owner
    # from the beginning, and may be looked at in the moment before.
    return bool(annotated) and age > names.UNOWNED_SECONDS


def _doom(found: _Found) -> Doomed:
    metadata = found["metadata"]
    ref = Ref("v1", "ConfigMap", metadata["name"], metadata["namespace"])
    return Doomed(ref, metadata["uid"], metadata["resourceVersion"])


async def sweep(kube: KubeApi, scopes: Sequence[str | None], now: datetime) -> int:
    """One round; how many ConfigMaps were deleted.

    Raises:
        KubeError: the API server refuses or gives no answer.
    """
    count = 0
    for namespace in scopes:
        manifests, parts, tickets = [
            await kube.list_metadata("v1", "ConfigMap", namespace=namespace, label_selector=label)
            for label in (LABEL_BUNDLE, names.LABEL_PART, names.LABEL_TICKET)
        ]
        for each in doomed(manifests, parts, tickets, now):
            try:
                deleted = await kube.delete(each.ref, uid=each.uid, version=each.version)
            except Conflict:
                continue  # it was pushed again, or has an owner by now
            count += deleted
    return count


async def run(
    kube: KubeApi,
    scopes: Sequence[str | None],
    now: Callable[[], datetime],
    *,
    first: float = FIRST_SECONDS,
    pause: float = PAUSE_SECONDS,
) -> None:
    """Sweeps again and again, for ever; what fails is tried in the next round.

    `first` and `pause` are the seconds before the first round and after each.
    """
    await asyncio.sleep(first)  # there is more to do when an operator begins
    while True:
        try:
            count = await sweep(kube, scopes, now())
        except KubeError as error:
            logger.warning("Bundles that nothing owns cannot be swept: %s", error)
        else:
            if count:
                logger.info("Deleted %d ConfigMaps of code that nothing owns", count)
        await asyncio.sleep(pause)
