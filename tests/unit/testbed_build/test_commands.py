"""Commands of a build: what people are told when one fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.build import BuildError
from testbed.build.commands import Commands


def test_a_failure_tells_the_code_the_last_lines_and_the_log(tmp_path: Path) -> None:
    """The message is enough to see what is wrong, and says where the rest is."""
    log = tmp_path / "logs" / "part.log"
    with pytest.raises(BuildError) as caught:
        Commands().run(["sh", "-c", "seq 100; echo it broke >&2; exit 3"], log=log)
    text = str(caught.value)
    assert text.startswith("sh failed with exit code 3\n")
    assert "it broke" in text
    assert "\n    1\n" not in text
    assert str(log) in text
    assert "it broke" in log.read_text()


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    """The message says what cannot be started."""
    with pytest.raises(BuildError, match="no-such-program"):
        Commands().run(["no-such-program"], log=tmp_path / "log")


def test_a_full_disk_is_called_so(tmp_path: Path) -> None:
    """The message says how much is free, instead of the command's own words alone."""
    with pytest.raises(BuildError, match=r"the disk is full \(\d+ GB free"):
        Commands().run(
            ["sh", "-c", "echo write /x: No space left on device; exit 1"], log=tmp_path / "log"
        )


def test_network_trouble_is_tried_again(tmp_path: Path) -> None:
    """A command that meets a hiccup of the network once ends well."""
    mark = tmp_path / "mark"
    script = f"test -e {mark} && exit 0; touch {mark}; echo dial tcp: i/o timeout; exit 1"
    lines: list[str] = []
    commands = Commands(backoff=(0.01,))
    commands.run(["sh", "-c", script], log=tmp_path / "log", on_line=lines.append)
    assert lines == ["dial tcp: i/o timeout", "network trouble, trying again in 0 s"]


def test_a_registry_that_stays_down_is_named_as_the_cause(tmp_path: Path) -> None:
    """After the last try the message says what to check."""
    commands = Commands(backoff=(0.01, 0.01))
    with pytest.raises(BuildError, match=r"cannot reach a package registry \(tried 3 times\)"):
        commands.run(["sh", "-c", "echo Could not resolve host; exit 100"], log=tmp_path / "log")


def test_an_error_of_the_command_itself_is_not_tried_again(tmp_path: Path) -> None:
    """A compile error is final."""
    tries = tmp_path / "tries"
    script = f"echo x >> {tries}; echo undefined: Foo; exit 1"
    with pytest.raises(BuildError, match="undefined: Foo"):
        Commands(backoff=(0.01, 0.01)).run(["sh", "-c", script], log=tmp_path / "log")
    assert tries.read_text() == "x\n"
