"""What must not leave by accident: secrets, and files that are no code."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

_SECRET_NAMES: Final = (
    ".env",
    ".env.*",
    "*.env",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    ".netrc",
    ".pypirc",
    ".git-credentials",
    ".dockerconfigjson",
    "kubeconfig",
    "*.kubeconfig",
)
_SECRET_PATHS: Final = ("*.aws/credentials", "*.kube/config", "*.docker/config.json")
_HARMLESS: Final = re.compile(r"\.(example|sample|template|dist)$")
_PRIVATE_KEY: Final = re.compile(rb"\A\s*-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----")

HEAD_BYTES: Final = 128
"""How much of a file `looks_secret` wants to see."""


def looks_secret(path: str, head: bytes) -> bool:
    """Whether a file is a key or holds credentials, by its name and its first bytes."""
    name = path.rpartition("/")[2]
    if _HARMLESS.search(name):
        return False
    by_name = any(fnmatchcase(name, each) for each in _SECRET_NAMES)
    by_path = any(fnmatchcase(path, each) for each in _SECRET_PATHS)
    return by_name or by_path or _PRIVATE_KEY.match(head) is not None


def biggest(sizes: Iterable[tuple[str, int]], count: int = 5) -> str:
    """The biggest of some (path, bytes) pairs, in words."""
    chosen = sorted(sizes, key=lambda pair: (-pair[1], pair[0]))[:count]
    return ", ".join(f"{path} ({human(size)})" for path, size in chosen)


def human(size: int) -> str:
    """Bytes for people, in powers of 1000."""
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            return f"{value:.1f} {unit}"
    raise AssertionError("the last unit returns")
