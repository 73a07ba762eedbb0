"""Counts what was really created, from the API server's own audit log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def created(log: Path, namespace: str, *resources: str) -> Counter[tuple[str, str]]:
    """How often each (resource, name) was created with success in the namespace."""
    counts: Counter[tuple[str, str]] = Counter()
    for event in _events(log):
        target = event.get("objectRef", {})
        if (
            event.get("verb") == "create"
            and target.get("namespace") == namespace
            and target.get("resource") in resources
            and not target.get("subresource")
            and "dryRun=" not in event.get("requestURI", "")
            and event.get("responseStatus", {}).get("code") == 201
        ):
            name = target.get("name") or event.get("responseObject", {}).get("metadata", {}).get(
                "name", ""
            )
            counts[target["resource"], name] += 1
    return counts


def writes(log: Path, user: str) -> list[str]:
    """When the API server received each request of a user that was to change something.

    The times are text that sorts; whether the request was granted does not matter.
    """
    return sorted(
        event["requestReceivedTimestamp"]
        for event in _events(log)
        if event.get("user", {}).get("username") == user
    )


def _events(log: Path) -> Iterator[dict[str, Any]]:
    """The finished requests; the audit policy leaves reads out."""
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue  # the line that is being written right now
        if event.get("stage") == "ResponseComplete":
            yield event
