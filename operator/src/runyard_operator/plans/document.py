"""The text of a plan: objects as YAML below comments, cut to what one ConfigMap holds. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from runyard import readable

MAX_BYTES: Final = 900_000
"""All documents together: a ConfigMap holds 1,048,576 bytes."""


def document(head: Sequence[str], objects: Sequence[Mapping[str, Any]]) -> str:
    """Comments, then the objects, each a YAML document."""
    comments = "".join(f"# {line}\n" for each in head for line in each.splitlines())
    return comments + "".join(f"---\n{readable.dump(each)}" for each in objects)


def bounded(documents: Mapping[str, str], limit: int = MAX_BYTES) -> dict[str, str]:
    """The documents in at most `limit` bytes, names included; the longest ones lose their ends."""
    room = limit - sum(len(name.encode()) for name in documents)
    sizes = {name: len(text.encode()) for name, text in documents.items()}
    most = _share(sorted(sizes.values()), room)
    return {
        name: text if sizes[name] <= most else _cut(text, most) for name, text in documents.items()
    }


def _share(sizes: Sequence[int], room: int) -> int:
    """The greatest size that no document may exceed, so that all together fit; `sizes` ascend."""
    left = room
    for at, size in enumerate(sizes):
        fair = left // (len(sizes) - at)
        if size > fair:
            return max(fair, 0)
        left -= size
    return room


def _cut(text: str, most: int) -> str:
    whole = text.encode()
    marker = f"# ... cut: the whole has {len(whole)} bytes\n"
    room = max(most - len(marker), 0)
    kept = whole[:room].decode("utf-8", errors="ignore")
    return kept[: kept.rfind("\n") + 1] + marker


def digest(documents: Mapping[str, str]) -> str:
    """sha256 of all documents, as `sha256:<hex>`."""
    text = json.dumps(dict(documents), sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
