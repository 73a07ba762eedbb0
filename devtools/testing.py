"""`./dev test`: the layers of checks and tests, in order, with a summary at the end."""

from __future__ import annotations

import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools import environment
from devtools.common import DevError, heading, run, say
from devtools.environment import BIN, Packages
from testbed.build import catalogue


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a layer ended."""

    passed: bool
    detail: str
    seconds: float = 0.0


def _program(name: str, *arguments: str) -> bool:
    say(f"$ {name} {' '.join(arguments)}")
    return run([str(BIN / name), *arguments], environment.variables()) == 0


def _lint() -> Outcome:
    checks: dict[str, Callable[[], bool]] = {
        "ruff": lambda: _program("ruff", "check", "."),
        "ruff format": lambda: _program("ruff", "format", "--check", "."),
        "mypy": lambda: _program("mypy"),
        "import-linter": lambda: _program("lint-imports"),
    }
    failed = [name for name, check in checks.items() if not check()]
    return Outcome(not failed, f"failed: {', '.join(failed)}" if failed else ", ".join(checks))


def _pytest(folder: str, *options: str) -> Callable[[], Outcome]:
    def layer() -> Outcome:
        with tempfile.TemporaryDirectory() as scratch:
            report = Path(scratch) / "report.xml"
            passed = _program(
                "python", "-m", "pytest", f"tests/{folder}", f"--junitxml={report}", *options
            )
            return counted(passed, report)

    return layer


def counted(passed: bool, report: Path) -> Outcome:
    """A skipped test counts as a failed layer: what was not run was not shown to work."""
    if not report.exists():
        return Outcome(False, "pytest did not start")
    # The file was written by our own pytest a moment ago.
    suite = ElementTree.parse(report).getroot().find("testsuite")  # noqa: S314
    counts = {} if suite is None else suite.attrib
    ran, skipped = int(counts.get("tests", 0)), int(counts.get("skipped", 0))
    failed = int(counts.get("failures", 0)) + int(counts.get("errors", 0))
    detail = f"{ran - skipped - failed} passed, {failed} failed, {skipped} skipped"
    return Outcome(passed and ran > 0 and skipped == 0, detail)


@dataclass(frozen=True, slots=True)
class Layer:
    """A set of checks, and what they need."""

    name: str
    about: str
    check: Callable[[], Outcome]


# Real processes on a busy machine fail now and then for reasons of their own, such as a port that
# was free a moment ago. Such a test is run once more, and pytest's last line counts it as `rerun`.
_ONCE_MORE = ("--reruns", "1", "--reruns-delay", "5")

LAYERS = (
    Layer("lint", "style, types, layers of imports", _lint),
    Layer("unit", "no cluster", _pytest("unit")),
    Layer("integration", "a real API server", _pytest("integration", *_ONCE_MORE)),
    Layer("e2e", "a real cluster with real pods", _pytest("e2e", *_ONCE_MORE)),
)
NAMES = tuple(layer.name for layer in LAYERS)

API_PARTS = (
    "etcd", "kube-apiserver", "kube-apiserver-oldest", "kube-controller-manager", "kubectl", "kwok",
    "manifests/trainer", "versitygw",
)  # fmt: skip
"""What the integration tests need of the testbed."""


def _build_parts(chosen: Sequence[str]) -> None:
    """Builds what the tests will start: no test's deadline should cover the first build.

    Raises:
        DevError: a part cannot be built.
    """
    parts = list(catalogue()) if "e2e" in chosen else list(API_PARTS)
    if {"integration", "e2e"}.isdisjoint(chosen):
        return
    heading("parts of the testbed")
    if run([sys.executable, "-m", "testbed.build", *parts]) != 0:
        raise DevError("the testbed cannot be built; see above")


def run_layers(names: Sequence[str]) -> int:
    """Runs the layers of these names, all when empty; returns the exit code.

    Raises:
        DevError: there is no such layer, or the packages or the testbed cannot be had.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise DevError(f"no such layer: {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    heading("packages")
    environment.ensure(Packages.ALL)
    say(f"installed in {environment.VENV}")
    chosen = names or NAMES
    _build_parts(chosen)
    outcomes: dict[str, Outcome] = {}
    for layer in LAYERS:
        if layer.name not in chosen:
            continue
        heading(f"{layer.name}: {layer.about}")
        begin = time.monotonic()
        outcome = layer.check()
        seconds = time.monotonic() - begin
        outcomes[layer.name] = Outcome(outcome.passed, outcome.detail, seconds)
    return summary(outcomes)


def summary(outcomes: dict[str, Outcome]) -> int:
    """Prints how the layers ended, and which were not asked for; returns the exit code."""
    heading("summary")
    for name, outcome in outcomes.items():
        verdict = "passed" if outcome.passed else "FAILED"
        say(f"{name:12} {verdict}  {outcome.seconds:5.0f} s  {outcome.detail}")
    not_asked = [name for name in NAMES if name not in outcomes]
    if not_asked:
        say(f"not asked for: {', '.join(not_asked)}")
    return 0 if all(outcome.passed for outcome in outcomes.values()) else 1
