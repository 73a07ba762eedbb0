"""Lines of several logs are told apart and never torn."""

from __future__ import annotations

import io

from runyard.cli.logwriter import LogWriter


def test_prefixes_line_up_and_broken_bytes_do_no_harm() -> None:
    """The column is as wide as the widest prefix."""
    out = io.StringIO()
    writer = LogWriter(out, colour=False)
    first, second = writer.to("prepare/0"), writer.to("t/1")
    first(b"a")
    second(b"\xff")
    writer.to("")(b"bare")
    assert out.getvalue() == "prepare/0 | a\nt/1       | \ufffd\nbare\n"


def test_colours_tell_sources_apart() -> None:
    """On a terminal each prefix has a colour, the text has none."""
    out = io.StringIO()
    LogWriter(out, colour=True).to("a/0")(b"text")
    assert out.getvalue() == "\x1b[36ma/0\x1b[0m | text\n"


def test_lines_are_seen_when_they_are_flushed() -> None:
    """Not one by one: a long log would cost a system call for each."""
    raw = io.BytesIO()
    writer = LogWriter(io.TextIOWrapper(raw, encoding="utf-8"), colour=False)
    writer.to("")(b"line")
    assert raw.getvalue() == b""
    writer.flush()
    assert raw.getvalue() == b"line\n"
