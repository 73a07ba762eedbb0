"""Counts what was really created, from the API server's own audit log."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path


def created(log: Path, namespace: str, *resources: str) -> Counter[tuple[str, str]]:
    """How often each (resource, name) was created with success in the namespace."""
    counts: Counter[tuple[str, str]] = Counter()
    for line in log.read_text(encoding="utf-8").splitlines():
        if '"create"' not in line:
            continue
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue  # the line that is being written right now
        target = event.get("objectRef", {})
        if (
            event.get("verb") == "create"
            and event.get("stage") == "ResponseComplete"
            and target.get("namespace") == namespace
            and target.get("resource") in resources
            and not target.get("subresource")
            and event.get("responseStatus", {}).get("code") == 201
        ):
            name = target.get("name") or event.get("responseObject", {}).get("metadata", {}).get(
                "name", ""
            )
            counts[target["resource"], name] += 1
    return counts
