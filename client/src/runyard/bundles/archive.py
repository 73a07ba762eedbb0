"""A folder to an archive whose digest says its content, and nothing else."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runyard.bundles import guard, tar
from runyard.bundles.listing import IGNORE_FILE, ArchiveError, code_files

MAX_CONTENT_BYTES: Final = 500_000_000
MAX_FILES: Final = 200_000
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Archive:
    """A packed folder. In a `with`, its file is gone at the end.

    Attributes:
        path: a temporary file: gzip (one member) of a pax tar.
        digest: `sha256:<hex>` of the uncompressed tar: the same wherever the same files are packed.
        size: bytes of the file at `path`; another version of zlib may need some more or less.
        files: how many files and links there are.
        content_bytes: their bytes, uncompressed.
    """

    path: Path
    digest: str
    size: int
    files: int
    content_bytes: int

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A path and what it is; `target` is that of a link."""

    path: str
    size: int
    executable: bool
    target: str | None


def pack(
    folder: Path,
    *,
    files: Iterable[str] | None = None,
    allow_secrets: bool = False,
    max_content_bytes: int = MAX_CONTENT_BYTES,
) -> Archive:
    """Packs files below a folder, which it only reads.

    Names, contents, links and the right to execute are kept; owners, times and empty folders are
    not. The caller removes the archive.

    Args:
        folder: becomes the code folder.
        files: relative paths with `/`; by default those of `listing.code_files`.
        allow_secrets: take files that look like keys or credentials, too.
        max_content_bytes: more than this is refused.

    Raises:
        ArchiveError: there is nothing to pack, or something that must not or cannot be packed.
        OSError: a file cannot be read.
    """
    entries = _entries(folder, files, max_content_bytes)
    handle, name = tempfile.mkstemp(prefix="runyard-", suffix=".tar.gz")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            with gzip.GzipFile(
                filename="", mode="wb", compresslevel=9, fileobj=out, mtime=0
            ) as packed:
                digest = _write(folder, entries, packed.write, allow_secrets)
            size = out.tell()
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Archive(path, digest, size, len(entries), sum(each.size for each in entries))


def fingerprint(
    folder: Path,
    *,
    allow_secrets: bool = False,
    max_content_bytes: int = MAX_CONTENT_BYTES,
) -> str:
    """The digest that `pack` would give, without the work of compressing.

    Raises:
        ArchiveError, OSError: as `pack`.
    """
    entries = _entries(folder, None, max_content_bytes)
    return _write(folder, entries, lambda _: None, allow_secrets)


def _entries(folder: Path, files: Iterable[str] | None, limit: int) -> list[_Entry]:
    if not folder.is_dir():
        raise ArchiveError(f"{folder} is not a folder: name the folder of the code")
    paths = code_files(folder) if files is None else sorted({_normal(each) for each in files})
    if not paths:
        raise ArchiveError(
            f"{folder} has no files that git or {IGNORE_FILE} lets through: name another folder"
        )
    entries = [_entry(folder, path) for path in paths]
    _check_amount(entries, limit)
    return entries


def _normal(path: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or not parts:
        raise ArchiveError(f"the path {path!r} must lie below the folder, without '..'")
    return "/".join(parts)


def _entry(folder: Path, path: str) -> _Entry:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ArchiveError(f"the name {path!r} is not UTF-8: rename the file") from None
    for above in Path(path).parents:
        if (folder / above).is_symlink() and above != Path():
            raise ArchiveError(f"{path} lies behind the link {above}: name where it really lies")
    try:
        found = os.lstat(folder / path)
    except FileNotFoundError:
        raise ArchiveError(f"there is no file {path} in {folder}") from None
    if stat.S_ISLNK(found.st_mode):
        return _Entry(path, 0, False, _link(folder, path))
    if not stat.S_ISREG(found.st_mode):
        raise ArchiveError(
            f"{path} is neither a file nor a link: add it to {IGNORE_FILE}, or remove it"
        )
    return _Entry(path, found.st_size, bool(found.st_mode & stat.S_IXUSR), None)


def _link(folder: Path, path: str) -> str:
    target = os.readlink(folder / path)
    root = os.path.realpath(folder)
    real = os.path.realpath(folder / path)
    # By its text and in truth: the one is what another machine sees, the other may pass by links.
    text = os.path.normpath(os.path.join(os.path.dirname(path), target))
    out = os.path.isabs(target) or text == ".." or text.startswith("../")
    if out or os.path.commonpath([root, real]) != root:
        raise ArchiveError(
            f"the link {path} leads out of the folder, to {target}: replace it by the file, or add"
            f" it to {IGNORE_FILE}"
        )
    return target


def _check_amount(entries: list[_Entry], limit: int) -> None:
    content = sum(each.size for each in entries)
    if content > limit:
        raise ArchiveError(
            f"the files take {guard.human(content)} and at most {guard.human(limit)} are packed:"
            f" add what is no code to {IGNORE_FILE}, or allow more (--max-size); the biggest are"
            f" {guard.biggest((each.path, each.size) for each in entries)}"
        )
    if len(entries) > MAX_FILES:
        raise ArchiveError(
            f"there are {len(entries)} files and at most {MAX_FILES} are packed: add what is no"
            f" code to {IGNORE_FILE}"
        )


def _write(
    folder: Path, entries: list[_Entry], sink: Callable[[bytes], object], allow_secrets: bool
) -> str:
    """Hands the tar to `sink`; its digest."""
    hasher = hashlib.sha256()
    secrets: list[str] = []

    def put(data: bytes) -> None:
        hasher.update(data)
        sink(data)

    for entry in entries:
        if entry.target is not None:
            put(tar.symlink(entry.path, entry.target))
            continue
        put(tar.file_header(entry.path, entry.size, executable=entry.executable))
        with open(folder / entry.path, "rb") as file:
            left = entry.size
            head = file.read(min(guard.HEAD_BYTES, left))
            if not allow_secrets and guard.looks_secret(entry.path, head):
                secrets.append(entry.path)
            piece = head
            while piece:
                put(piece)
                left -= len(piece)
                piece = file.read(min(_PIECE, left))
        if left:
            raise ArchiveError(f"{entry.path} was changed while it was read: try again")
        put(tar.padding(entry.size))
    put(tar.END)
    if secrets:
        more = f" and {len(secrets) - 5} more" if len(secrets) > 5 else ""
        raise ArchiveError(
            f"{', '.join(secrets[:5])}{more}: this looks like keys or credentials. Add it to"
            f" {IGNORE_FILE} and give it to the task as a Secret; or, if it is none, allow it"
            " (--allow-secrets)"
        )
    return f"sha256:{hasher.hexdigest()}"
