"""Removes bundles that no namespace speaks of any more, and logs that are too old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from runyard.api.constants import ANNOTATION_DIGEST, LABEL_BUNDLE
from runyard.bundles import names
from runyard_operator.bundles import tokens
from runyard_operator.kube.api import KubeApi, Objects
from runyard_operator.storage.backend import Backend
from runyard_operator.storage.depot import BUNDLES, CLAIMS, Depot, claim_name
from runyard_operator.storage.logs import LOGS

logger = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 600.0
KEEP: Final = timedelta(seconds=names.UNOWNED_SECONDS)


def spoken_of(manifests: Objects, key: bytes) -> set[str]:
    """The names of the claims that stand behind manifests which the store itself has written."""
    found = set()
    for each in manifests:
        namespace, digest = each["metadata"]["namespace"], names.annotation(each, ANNOTATION_DIGEST)
        said = names.annotation(each, names.ANNOTATION_PROOF)
        if tokens.same(said, tokens.proof(key, namespace, digest)):
            found.add(claim_name(namespace, digest))
    return found


async def sweep(
    depot: Depot, kube: KubeApi, key: bytes, scopes: Sequence[str | None], now: datetime
) -> int:
    """One round over the bundles; how many archives were removed.

    Raises:
        KubeError: the manifests cannot be listed: then nothing is removed.
    """
    manifests: Objects = []
    for scope in scopes:
        manifests += await kube.list_metadata(
            "v1", "ConfigMap", namespace=scope, label_selector=LABEL_BUNDLE
        )
    alive = spoken_of(manifests, key)
    backend = depot.backend
    # Under the lock, and after the list: what is sent again meanwhile is young.
    async with depot.lock:
        kept = set()
        for claim in await backend.entries(CLAIMS):
            _, namespace, digits = claim.name.split("/")
            ours = None in scopes or namespace in scopes
            if ours and claim.name not in alive and now - claim.modified > KEEP:
                await backend.remove(claim.name)
            else:
                kept.add(digits)
        count = 0
        for archive in await backend.entries(BUNDLES):
            if archive.name.rpartition("/")[2] not in kept and now - archive.modified > KEEP:
                await backend.remove(archive.name)
                count += 1
    return count


async def forget_logs(backend: Backend, oldest: datetime) -> int:
    """Removes logs that were written before `oldest`; how many."""
    old = [each for each in await backend.entries(LOGS) if each.modified < oldest]
    for each in old:
        await backend.remove(each.name)
    return len(old)


async def run(
    depot: Depot,
    logs: Backend,
    kube: KubeApi,
    key: bytes,
    scopes: Sequence[str | None],
    now: Callable[[], datetime],
    log_days: int,
) -> None:
    """Sweeps again and again, for ever; what fails is tried in the next round."""
    while True:
        await asyncio.sleep(PAUSE_SECONDS)
        try:
            count = await sweep(depot, kube, key, scopes, now())
            old = await forget_logs(logs, now() - timedelta(days=log_days))
        except Exception as error:  # a back end may raise what its library raises
            logger.warning("What nobody needs cannot be swept: %s", error)
        else:
            if count or old:
                logger.info("Removed %d bundles and %d logs that nobody needs", count, old)
