"""Where the bytes lie. What becomes visible is whole: that is all that the rest relies on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class NoSpaceError(Exception):
    """There is no room for more bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something kept: its name with `/`, its bytes, and when it was written last."""

    name: str
    size: int
    modified: datetime


class Incoming(Protocol):
    """Bytes on their way in, which nobody sees yet."""

    async def write(self, data: bytes) -> None:
        """Takes the next bytes.

        Raises:
            NoSpaceError: there is no room for them.
        """
        ...

    async def keep(self, name: str) -> None:
        """Lets all that was written appear under a name, in place of what was there.

        It lasts: it is there, and whole, after a loss of power.

        Raises:
            NoSpaceError: there is no room for it.
        """
        ...


class Backend(Protocol):
    """A place for named bytes. Names are checked by those who call."""

    def writing(self) -> AbstractAsyncContextManager[Incoming]:
        """Begins something new; what is not kept in the end leaves nothing behind."""
        ...

    def read(self, name: str, start: int, count: int) -> AsyncIterator[bytes]:
        """`count` bytes from `start` on, in pieces.

        Raises:
            FileNotFoundError: there is nothing of this name.
        """
        ...

    async def size(self, name: str) -> int | None:
        """How many bytes there are under a name; None when there is nothing."""
        ...

    async def entries(self, prefix: str) -> list[Entry]:
        """All whose names begin with `prefix`, which ends with `/`, in the order of their names."""
        ...

    async def remove(self, name: str) -> None:
        """Removes it; nothing happens when it is not there."""
        ...

    async def free(self) -> int | None:
        """How many bytes more there is room for; None when it is not known."""
        ...
