"""How much an archive may become. An archive is a stranger's until its digest is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024
BLOCK: Final = MIB
"""Bytes read at once: the container has 128 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one archive.

    Attributes:
        archive: bytes of the archive itself.
        total: bytes of all files together.
        entry: bytes of one file.
        entries: how many files and folders there may be.
        ratio: how many times larger than the archive the files may be; gzip and zip reach 1000
            with zeros alone, code stays below 20.
        free: bytes that the ratio does not count, so that small archives are not refused for it.
        header: bytes of one entry's own description.
    """

    archive: int = 10_000_000_000
    total: int = 20_000_000_000
    entry: int = 10_000_000_000
    entries: int = 200_000
    ratio: int = 100
    free: int = 256 * MIB
    header: int = MIB

    def unpacked(self, size: int) -> int:
        """Bytes that an archive of `size` bytes may become."""
        return min(self.total, max(self.free, size * self.ratio))


DEFAULT: Final = Limits()
