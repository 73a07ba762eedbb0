"""Log lines: one JSON object each, with the object that they are about."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from runyard_operator.logs_json import bound, configure


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leaves the root logger as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_lines_carry_the_object() -> None:
    """A line has time, level, logger, message, the keys that are bound, and the extra ones."""
    sink = io.StringIO()
    configure("info", "json", sink)
    with bound(kind="ExecutionUnit", namespace="team", name="prep"), bound(attempt=2):
        logging.getLogger("runyard.test").info("submitted %s", "it", extra={"plan": "sha256:1"})
    logging.getLogger("runyard.test").debug("not shown")
    line = json.loads(sink.getvalue())
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "runyard.test",
        "message": "submitted it",
        "kind": "ExecutionUnit",
        "namespace": "team",
        "name": "prep",
        "attempt": 2,
        "plan": "sha256:1",
    }


def test_json_tracebacks_stay_on_one_line() -> None:
    """An exception is a field of its line."""
    sink = io.StringIO()
    configure("INFO", "json", sink)
    try:
        raise RuntimeError("no luck")
    except RuntimeError:
        logging.getLogger("runyard.test").exception("failed")
    (line,) = sink.getvalue().splitlines()
    assert "RuntimeError: no luck" in json.loads(line)["traceback"]


def test_text_lines_name_the_object() -> None:
    """On a terminal the object stands at the end of the line, before any traceback."""
    sink = io.StringIO()
    configure("INFO", "text", sink)
    with bound(kind="ExecutionUnit", namespace="team", name="prep"):
        logging.getLogger("runyard.test").warning("late")
    assert sink.getvalue().rstrip().endswith("WARNING late [ExecutionUnit/team/prep]")


def test_kopf_is_quiet() -> None:
    """Kopf's two lines for each event are not shown, its warnings are."""
    sink = io.StringIO()
    configure("INFO", "text", sink)
    logging.getLogger("kopf.objects").info("Handler 'on_event' succeeded.")
    logging.getLogger("kopf.objects").warning("look")
    assert "succeeded" not in sink.getvalue()
    assert "look" in sink.getvalue()
