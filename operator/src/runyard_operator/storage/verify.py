"""Whether bytes are the archive that they claim to be, judged while they come by."""

from __future__ import annotations

import hashlib
import zlib
from typing import Final

_GZIP: Final = 16 + zlib.MAX_WBITS
_PIECE: Final = 1 << 20


class ContentError(ValueError):
    """The bytes are not what they should be; the message says why."""


class Verifier:
    """Unpacks a gzip stream to nowhere and digests what comes out; memory stays bounded.

    Args:
        limit: how many bytes may come out: few bytes can unpack to very many.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unpacked = 0
        self._hasher = hashlib.sha256()
        self._stream = zlib.decompressobj(_GZIP)

    def update(self, data: bytes) -> None:
        """Takes the next bytes.

        Raises:
            ContentError: they are no gzip, go on after its end, or unpack to too much.
        """
        while data:
            if self._stream.eof:
                raise ContentError("there are bytes after the end of the gzip stream")
            try:
                out = self._stream.decompress(data, _PIECE)
            except zlib.error as error:
                raise ContentError(f"this is not gzip: {error}") from error
            self._unpacked += len(out)
            if self._unpacked > self._limit:
                raise ContentError(f"it unpacks to more than {self._limit} bytes")
            self._hasher.update(out)
            data = self._stream.unconsumed_tail or self._stream.unused_data

    def finish(self) -> str:
        """The digest of what came out, as `sha256:<hex>`.

        Raises:
            ContentError: the stream has not come to its end.
        """
        # What zlib holds back of a full output buffer.
        while out := self._stream.decompress(self._stream.unconsumed_tail, _PIECE):
            self._unpacked += len(out)
            if self._unpacked > self._limit:
                raise ContentError(f"it unpacks to more than {self._limit} bytes")
            self._hasher.update(out)
        if not self._stream.eof:
            raise ContentError("the gzip stream is cut off")
        return f"sha256:{self._hasher.hexdigest()}"
