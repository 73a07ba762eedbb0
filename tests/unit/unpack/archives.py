"""Archives for the tests, built entry by entry: also those that no tool would make."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, content: bytes = b"", *, mode: int = 0o644, kind: bytes = tarfile.REGTYPE,
          leads_to: str = "", size: int | None = None) -> Entry:  # fmt: skip
    """An entry of a tar; `size` lies about the content's."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = kind, mode, leads_to
    info.size = len(content) if size is None else size
    return info, content


def link(name: str, leads_to: str) -> Entry:
    """A symbolic link."""
    return entry(name, kind=tarfile.SYMTYPE, leads_to=leads_to, mode=0o777)


def tar(entries: Iterable[Entry]) -> bytes:
    """The archive, names as they are given."""
    out = io.BytesIO()
    for info, content in entries:
        out.write(info.tobuf(tarfile.PAX_FORMAT))
        out.write(content)
        out.write(b"\0" * (-len(content) % 512))
    out.write(b"\0" * 1024)
    return out.getvalue()


def zipped(files: Iterable[tuple[str, bytes, int]]) -> bytes:
    """A zip of (name, content, Unix mode with its kind)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, mode in files:
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return out.getvalue()


def digest(content: bytes) -> str:
    """As `sha256sum` says it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def parts(folder: Path, plain: bytes, size: int = 1000) -> Path:
    """The gzipped archive as a volume shows the ConfigMaps of a bundle."""
    version = folder / "..2026_11_21"
    version.mkdir(parents=True)
    packed = gzip.compress(plain, mtime=0)
    for number, start in enumerate(range(0, len(packed), size)):
        (version / f"part-{number:04d}").write_bytes(packed[start : start + size])
    (folder / "..data").symlink_to(version.name)
    for each in version.iterdir():
        (folder / each.name).symlink_to(f"..data/{each.name}")
    return folder
