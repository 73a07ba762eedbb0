"""Rights that follow from one key, shared by the operator and the code store. Pure.

A token is an HMAC over what it allows, so the store keeps no list of them and needs no look-up.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Final

HEADER: Final = "X-Runyard-Token"
MIN_KEY_BYTES: Final = 16


class KeyFileError(ValueError):
    """The file holds no usable key; the message says what to do."""


def read_key(path: str | Path) -> bytes:
    """The key in a file, without white space around it.

    Raises:
        KeyFileError: there is none, or it is too short to be secret.
    """
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise KeyFileError(f"the store's key cannot be read: {error}") from error
    if len(key) < MIN_KEY_BYTES:
        raise KeyFileError(f"the store's key in {path} must have {MIN_KEY_BYTES} bytes or more")
    return key


def get_token(key: bytes, digest: str) -> str:
    """The right to read the bundle of a digest (`sha256:<hex>`)."""
    return _sign(key, f"get:{digest}")


def proof(key: bytes, namespace: str, digest: str) -> str:
    """That the content of a bundle itself was sent from a namespace."""
    return _sign(key, f"has:{namespace}:{digest}")


def put_logs_token(key: bytes, path: str) -> str:
    """The right to write one log, `<namespace>/<unit uid>/<attempt>/<file>`."""
    return _sign(key, f"put-logs:{path}")


def logs_token(key: bytes, namespace: str) -> str:
    """The right to read all archived logs of a namespace."""
    return _sign(key, f"logs:{namespace}")


def same(one: str, other: str) -> bool:
    """Whether two tokens are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


def _sign(key: bytes, message: str) -> str:
    return hmac.new(key, message.encode(), hashlib.sha256).hexdigest()
