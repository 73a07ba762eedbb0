"""The digest that names a set of files. Standard library only: it is loaded in every pod."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def content_digest(files: Iterable[tuple[str, bytes]]) -> str:
    """`sha256:<hex>` over paths and contents, whatever the order in which they come.

    Each part is framed by its length, so that no two different sets of files give the same text.
    """
    hasher = hashlib.sha256()
    for path, content in sorted(files):
        for part in (path.encode(errors="surrogateescape"), content):
            hasher.update(b"%d:" % len(part))
            hasher.update(part)
    return f"sha256:{hasher.hexdigest()}"
