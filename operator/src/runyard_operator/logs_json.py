"""Logging: one line for each event, with the object that it is about."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal, TextIO

from pythonjsonlogger.json import JsonFormatter

LogFormat = Literal["json", "text"]

_EMPTY: Final = MappingProxyType[str, Any]({})
_context: ContextVar[MappingProxyType[str, Any]] = ContextVar("runyard_log", default=_EMPTY)

# kopf says at INFO that each raw handler was called and has succeeded: two lines for each event.
_QUIET: Final = {
    "kopf": logging.WARNING,
    "kopf.objects": logging.WARNING,
    "asyncio": logging.WARNING,
    "aiohttp": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "kubernetes": logging.WARNING,
}


@contextmanager
def bound(**keys: Any) -> Iterator[None]:
    """Adds these keys to every line that is logged inside, for example kind, namespace, name."""
    token = _context.set(MappingProxyType({**_context.get(), **keys}))
    try:
        yield
    finally:
        _context.reset(token)


def configure(level: str, style: LogFormat, stream: TextIO = sys.stderr) -> None:
    """Sets up the root logger, in place of whatever was set up before.

    Args:
        level: the name of the least level that is shown, for example INFO.
        style: `json` for machines, `text` for a terminal.
        stream: where the lines go.
    """
    handler = logging.StreamHandler(stream)
    handler.addFilter(_add_context)
    handler.setFormatter(_json() if style == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))


def _add_context(record: logging.LogRecord) -> bool:
    context = _context.get()
    for key, value in context.items():
        # `name` and a few others belong to the record itself; they appear as object_<key>.
        setattr(record, f"object_{key}", value)
    return True


class _Json(JsonFormatter):
    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        ordered: dict[str, Any] = {
            "time": log_data.pop("time"),
            "level": str(log_data.pop("levelname")).lower(),
            "logger": log_data.pop("logger"),
            "message": log_data.pop("message"),
        }
        for key in [key for key in log_data if key.startswith("object_")]:
            ordered[key.removeprefix("object_")] = log_data.pop(key)
        return {**ordered, **log_data}

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _json() -> logging.Formatter:
    return _Json(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "name": "logger", "exc_info": "traceback"},
    )


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        keys = ("kind", "namespace", "name")
        named = [
            str(record.__dict__[f"object_{key}"])
            for key in keys
            if f"object_{key}" in record.__dict__
        ]
        head, newline, rest = super().format(record).partition("\n")
        return f"{head}{f' [{chr(47).join(named)}]' if named else ''}{newline}{rest}"
