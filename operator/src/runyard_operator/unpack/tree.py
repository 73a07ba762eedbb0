"""A folder that is being filled from an archive: what an entry may be, and where it may go.

Nothing is written through a link, nothing twice, and nothing outside. Links are checked at the end,
when it is known what they lead through.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

from runyard_operator.unpack.files import inside, make_empty
from runyard_operator.unpack.limits import BLOCK, Limits
from runyard_operator.unpack.problems import UnpackError

_FOLDER_MODE: Final = 0o777
_FILE_MODE: Final = 0o644
_PROGRAM_MODE: Final = 0o755
_NAME_BYTES: Final = 255
_PATH_BYTES: Final = 3000
"""Linux takes paths of 4095 bytes; the folder's own path comes before."""


class Readable(Protocol):
    """Something that gives bytes until it gives none."""

    def read(self, size: int, /) -> bytes: ...


class Tree:
    """The folder `root`, emptied first; `budget` is the number of bytes that may be written."""

    def __init__(self, root: str, limits: Limits, budget: int) -> None:
        self.root = make_empty(root)
        self._limits = limits
        self._left = budget
        self._entries = 0
        self._folders = {""}
        self._links: list[str] = []
        self.files = 0

    def folder(self, name: str) -> None:
        """Makes the folder of this name, which may be there already."""
        if "/".join(parts_of(name)) in self._folders:
            self._count()
        self._make_folders(parts_of(name))

    def file(self, name: str, source: Readable, size: int, *, program: bool) -> None:
        """Writes a file of exactly `size` bytes; `program` says whether it can be executed.

        Raises:
            UnpackError: it has another size, or is too large; see the class.
        """
        if size > self._limits.entry or size > self._left:
            raise UnpackError(f"{name!r} is too large: {size} bytes; leave data out of the code")
        self._left -= size
        place = self._place(name)
        try:
            with open(place, "xb") as out:
                left = size
                while block := source.read(min(BLOCK, left + 1)):
                    left -= len(block)
                    if left < 0:
                        raise UnpackError(f"{name!r} is larger than the archive says")
                    out.write(block)
                if left:
                    raise UnpackError(f"{name!r} is cut off: the archive is damaged")
        except FileExistsError:
            raise self._twice(name) from None
        os.chmod(place, _PROGRAM_MODE if program else _FILE_MODE)
        self.files += 1

    def link(self, name: str, leads_to: str) -> None:
        """Makes a symbolic link to another place of the tree, there already or not."""
        where = os.path.join(os.path.dirname("/".join(parts_of(name))), leads_to)
        if not leads_to or "\0" in leads_to or os.path.isabs(leads_to) or _escapes(where):
            raise self._leads_out(name, leads_to)
        place = self._place(name)
        try:
            os.symlink(leads_to, place)
        except FileExistsError:
            raise self._twice(name) from None
        self._links.append(place)

    def hard_link(self, name: str, leads_to: str) -> None:
        """Makes a second name for a file that was written before."""
        parts = parts_of(leads_to)
        if "/".join(parts[:-1]) not in self._folders:
            raise self._leads_out(name, leads_to)
        first = os.path.join(self.root, *parts)
        if os.path.islink(first) or not os.path.isfile(first):
            raise UnpackError(f"{name!r} is a link to {leads_to!r}, which is no file before it")
        try:
            os.link(first, self._place(name))
        except FileExistsError:
            raise self._twice(name) from None
        self.files += 1

    def finish(self) -> int:
        """Checks where the links lead in the end; returns how many files there are.

        Raises:
            UnpackError: one leads out.
        """
        for place in self._links:
            if not inside(self.root, os.path.realpath(place)):
                raise self._leads_out(os.path.relpath(place, self.root), os.readlink(place))
        return self.files

    def _count(self) -> None:
        self._entries += 1
        if self._entries > self._limits.entries:
            raise UnpackError(
                f"the archive has more than {self._limits.entries} files and folders:"
                " leave data out of it"
            )

    def _place(self, name: str) -> str:
        """The whole path of a new entry, its folders made."""
        self._count()
        parts = parts_of(name)
        if not parts:
            raise UnpackError(f"the entry {name!r} has no name")
        self._make_folders(parts[:-1])
        return os.path.join(self.root, *parts)

    def _make_folders(self, parts: list[str]) -> None:
        path = ""
        for part in parts:
            path = f"{path}/{part}" if path else part
            if path in self._folders:
                continue
            self._count()
            whole = os.path.join(self.root, path)
            try:
                os.mkdir(whole)
            except FileExistsError:
                what = "a link" if os.path.islink(whole) else "a file"
                raise UnpackError(f"{path!r} is {what}, and a folder as well") from None
            os.chmod(whole, _FOLDER_MODE)
            self._folders.add(path)

    @staticmethod
    def _twice(name: str) -> UnpackError:
        return UnpackError(f"the archive has {name!r} twice: keep one of them")

    @staticmethod
    def _leads_out(name: str, leads_to: str) -> UnpackError:
        return UnpackError(
            f"{name!r} is a link to {leads_to!r}, which leads out of the code: replace it by what"
            " it leads to"
        )


def parts_of(name: str) -> list[str]:
    """The parts of a relative path.

    Raises:
        UnpackError: it is absolute, leads out, or cannot be a path.
    """
    if name.startswith("/"):
        raise UnpackError(f"{name!r} is an absolute path: entries of an archive are relative")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnpackError(f"{name!r} leads out of the code by '..': leave it out of the archive")
    if "\0" in name or any(len(os.fsencode(part)) > _NAME_BYTES for part in parts):
        raise UnpackError(f"{name[:80]!r} is no name of a file: too long, or with a zero byte")
    if len(os.fsencode(name)) > _PATH_BYTES:
        raise UnpackError(f"the path {name[:80]!r}... is too long")
    return parts


def _escapes(path: str) -> bool:
    """Whether a relative path, read as text, climbs above where it begins."""
    depth = 0
    for part in path.split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return True
    return False
