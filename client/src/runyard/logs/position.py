"""Where in a log somebody is, so that reading goes on there: after a break, or in a new program.

The kubelet knows no offsets. What it can do is begin at a second, and always begins at the same
line then. So a place is a second and the number of lines since, and costs nothing on the wire.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Final

_VERSION: Final = 1
_SAVE_SECONDS: Final = 0.25


class PositionError(ValueError):
    """A file of positions cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Position:
    """The place behind the last line that was read.

    Attributes:
        since: a whole second as RFC 3339; None is the beginning of the log.
        lines: the lines that were read since then.
        last: a digest of the last few of them, by which the place is known again; empty for none.
    """

    since: str | None = None
    lines: int = 0
    last: str = ""


def digest(lines: Iterable[bytes]) -> str:
    """By which lines are known again, without their content."""
    return blake2b(b"\n".join(lines), digest_size=8).hexdigest()


def second(stamp: str) -> str:
    """The whole second of a timestamp such as 2026-03-01T12:00:00.000000001Z."""
    head, dot, rest = stamp.partition(".")
    zone = rest.lstrip("0123456789") if dot else ""
    return head + zone


class Bookmarks:
    """The positions in several logs, kept in a file; written four times a second at most.

    Lines are printed before their position is written. So who is killed loses none, and may see
    those of the last moment again; who ends in good order sees none twice.
    """

    def __init__(self, path: Path) -> None:
        """Reads the file where there is one.

        Raises:
            PositionError: it is none of ours, or cannot be read.
        """
        self._path = path
        self._known = _load(path)
        self._lock = threading.Lock()
        self._changed = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="bookmarks", daemon=True)

    def __enter__(self) -> Bookmarks:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._save()

    def get(self, key: str) -> Position | None:
        """Where the log of this key was left."""
        with self._lock:
            return self._known.get(key)

    def put(self, key: str, position: Position) -> None:
        """Takes note; the file follows."""
        with self._lock:
            self._known[key] = position
            self._changed = True

    def _keep(self) -> None:
        while not self._ended.wait(_SAVE_SECONDS):
            with suppress(OSError):  # the last try, when all is over, tells
                self._save()

    def _save(self) -> None:
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            logs = {key: asdict(each) for key, each in self._known.items()}
        beside = self._path.with_name(f"{self._path.name}.new")
        beside.write_text(json.dumps({"version": _VERSION, "logs": logs}), encoding="utf-8")
        os.replace(beside, self._path)


def _load(path: Path) -> dict[str, Position]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise PositionError(f"{path}: there is no folder {path.parent}") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise PositionError(f"{path}: this file cannot be read: {error}") from error
    try:
        document = json.loads(text)
        if document["version"] != _VERSION:
            raise ValueError(f"version {document['version']}")
        return {str(key): _position(each) for key, each in document["logs"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PositionError(
            f"{path}: this is no file of positions that `runyard logs` has written ({error}):"
            " name another file, or delete this one to read from the beginning"
        ) from error


def _position(each: dict[str, Any]) -> Position:
    since = each["since"]
    return Position(None if since is None else str(since), int(each["lines"]), str(each["last"]))
