"""The tar format, written by hand: the same bytes from every Python, on every machine.

POSIX.1-2001 (pax). The standard library's writer has changed details of its headers between
versions, and the digest of the archive is the name of the code.
"""

from __future__ import annotations

from typing import Final

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)

_FILE: Final = b"0"
_SYMLINK: Final = b"2"
_PAX: Final = b"x"
_NAME_BYTES: Final = 100
_MAX_OCTAL_SIZE: Final = 8**11


def file_header(path: str, size: int, *, executable: bool) -> bytes:
    """What comes before the content of a file.

    Raises:
        ValueError: the path is not Unicode.
    """
    mode = 0o755 if executable else 0o644
    return _with_pax(path, "", size) + _header(path, "", _FILE, mode, size)


def symlink(path: str, target: str) -> bytes:
    """A whole symbolic link.

    Raises:
        ValueError: the path or the target is not Unicode.
    """
    return _with_pax(path, target, 0) + _header(path, target, _SYMLINK, 0o777, 0)


def padding(size: int) -> bytes:
    """What fills the last block of a content of so many bytes."""
    return bytes(-size % BLOCK)


def _with_pax(path: str, target: str, size: int) -> bytes:
    """The extended header for what the old one cannot say; mostly empty."""
    records = b""
    for key, value in (("path", path), ("linkpath", target)):
        encoded = value.encode()  # a lone surrogate, hence a name that is not UTF-8, raises
        if len(encoded) > _NAME_BYTES or not value.isascii():
            records += _record(key, encoded)
    if size >= _MAX_OCTAL_SIZE:
        records += _record("size", str(size).encode())
    if not records:
        return b""
    head = _header("././@PaxHeader", "", _PAX, 0o644, len(records))
    return head + records + padding(len(records))


def _record(key: str, value: bytes) -> bytes:
    """`length key=value`, where the length counts itself."""
    rest = b" " + key.encode() + b"=" + value + b"\n"
    length = len(rest)
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


def _header(path: str, target: str, kind: bytes, mode: int, size: int) -> bytes:
    fields = (
        (_name(path), 100),
        (b"%07o" % mode, 8),
        (b"%07o" % 0, 8),  # user
        (b"%07o" % 0, 8),  # group
        (b"%011o" % (size if size < _MAX_OCTAL_SIZE else 0), 12),
        (b"%011o" % 0, 12),  # modification time
        (b" " * 8, 8),  # the checksum, which is computed over spaces
        (kind, 1),
        (_name(target), 100),
        (b"ustar\x0000", 8),
        (b"", 64),  # names of user and group
        (b"%07o" % 0, 8),  # device numbers
        (b"%07o" % 0, 8),
        (b"", 167),
    )
    block = b"".join(value.ljust(width, b"\0") for value, width in fields)
    checksum = b"%06o\0 " % sum(block)
    return block[:148] + checksum + block[156:]


def _name(text: str) -> bytes:
    return text.encode("ascii", "replace")[:_NAME_BYTES]
