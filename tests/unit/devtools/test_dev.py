"""`./dev` and the summary of its test layers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from devtools import testing

ROOT = Path(__file__).parents[3]


def dev(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The finished command."""
    return subprocess.run(
        [str(ROOT / "dev"), *arguments], cwd=folder, text=True, capture_output=True, check=False
    )


def test_help_names_the_commands(tmp_path: Path) -> None:
    """--help lists all commands, from whatever folder it is asked."""
    done = dev("--help", folder=tmp_path)
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("quickstart", "test", "generate", "down"))


def test_unknown_layer_is_refused() -> None:
    """A layer that does not exist is an error that names those that do."""
    done = dev("test", "units")
    assert done.returncode == 1
    assert "no such layer: units; there are: lint, unit, integration, e2e" in done.stderr


def test_foreign_cluster_needs_images() -> None:
    """On a cluster of the user's, the quickstart says at once which images it needs."""
    done = dev("quickstart", "--cluster", "current")
    assert done.returncode == 1
    assert "--operator-image" in done.stderr
    assert "--worker-image" in done.stderr


@pytest.mark.parametrize(
    ("attributes", "exit_ok", "passed"),
    [
        ('tests="3" failures="0" errors="0" skipped="0"', True, True),
        ('tests="3" failures="0" errors="0" skipped="1"', True, False),
        ('tests="0" failures="0" errors="0" skipped="0"', True, False),
        ('tests="3" failures="1" errors="0" skipped="0"', False, False),
    ],
)
def test_layer_passes_when_everything_ran(
    attributes: str, exit_ok: bool, passed: bool, tmp_path: Path
) -> None:
    """A skipped test fails its layer, as does a layer without tests."""
    report = tmp_path / "report.xml"
    report.write_text(f"<testsuites><testsuite {attributes}/></testsuites>")
    assert testing.counted((exit_ok, report)).passed is passed


@pytest.mark.parametrize("second_ok", [True, False])
def test_layer_sums_up_its_runs(tmp_path: Path, second_ok: bool) -> None:
    """Tests side by side and tests alone are one layer, which passes when both do."""
    ended = []
    for number, exit_ok in ((5, True), (2, second_ok)):
        report = tmp_path / f"{number}.xml"
        attributes = f'tests="{number}" failures="{int(not exit_ok)}" errors="0" skipped="0"'
        report.write_text(f"<testsuites><testsuite {attributes}/></testsuites>")
        ended.append((exit_ok, report))
    outcome = testing.counted(*ended)
    assert outcome.passed is second_ok
    told = "7 passed, 0 failed, 0 skipped" if second_ok else "6 passed, 1 failed, 0 skipped"
    assert outcome.detail == told


def test_layer_fails_when_pytest_did_not_start(tmp_path: Path) -> None:
    """Without a report nothing was shown to work."""
    assert not testing.counted((True, tmp_path / "none.xml")).passed


def test_summary_names_what_was_not_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """The summary lists each layer that ran, and those that did not."""
    outcomes = {"lint": testing.Outcome(True, "ruff"), "unit": testing.Outcome(False, "1 failed")}
    assert testing.summary(outcomes) == 1
    text = capsys.readouterr().out
    assert "lint         passed" in text
    assert "unit         FAILED" in text
    assert "not asked for: integration, e2e" in text
