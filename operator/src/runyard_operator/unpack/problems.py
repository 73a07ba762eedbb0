"""What goes wrong while code is put in place. Each message is for the user."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_USER_INFO: Final = re.compile(r"(?<=://)[^/@\s]+@")
_QUERY: Final = re.compile(r"(https?://[^\s?#]+)[?#][^\s]*")


class UnpackError(Exception):
    """The code cannot be put in place; the message is for the user."""


class Unreachable(UnpackError):  # noqa: N818 - as the backends call it
    """A server gave no answer, or not a whole one: the same request may succeed later."""


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without the given secrets, and without what a URL may hold of them.

    >>> redacted("https://me:pw@host/x?sig=abc failed, pw", ["pw"])
    'https://***@host/x?*** failed, ***'
    """
    text = _QUERY.sub(r"\1?***", _USER_INFO.sub("***@", text))
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def one_line(text: str, limit: int = 1000) -> str:
    """`text` as the one line that becomes the pod's last word, with its end cut when too long."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
