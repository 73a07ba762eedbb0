"""`./dev test`: the layers of checks and tests, in order, with a summary at the end."""

from __future__ import annotations

import os
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from devtools import environment
from devtools.common import DevError, heading, run, say
from devtools.environment import BIN, Packages
from devtools.parts import Parts
from testbed.build import catalogue


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a layer ended."""

    passed: bool
    detail: str
    seconds: float = 0.0


Check = Callable[[], Outcome]


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


def _pytest(folder: str, workers: int, *options: str, alone: bool = False) -> Check:
    """The tests of a folder in some processes side by side.

    With `alone`, those marked `exclusive` follow one by one when the others are over.
    """
    beside = (*options, "-n", str(workers), "--dist", "loadgroup")
    passes = [beside]
    if alone:
        passes = [(*beside, "-m", "not exclusive"), (*options, "-m", "exclusive")]

    def check() -> Outcome:
        with tempfile.TemporaryDirectory() as scratch:
            ended = []
            for number, flags in enumerate(passes):
                report = Path(scratch) / f"{number}.xml"
                command = ("-m", "pytest", f"tests/{folder}", f"--junitxml={report}", *flags)
                ended.append((_program("python", *command), report))
            return counted(*ended)

    return check


def counted(*ended: tuple[bool, Path]) -> Outcome:
    """Sums up runs of pytest: whether each ended well, and its report.

    A skipped test counts as a failed layer: what was not run was not shown to work.
    """
    totals = {"tests": 0, "skipped": 0, "failures": 0, "errors": 0}
    for _, report in ended:
        if not report.exists():
            return Outcome(False, "pytest did not start")
        # The file was written by our own pytest a moment ago.
        suite = ElementTree.parse(report).getroot().find("testsuite")  # noqa: S314
        counts = {} if suite is None else suite.attrib
        totals = {key: total + int(counts.get(key, 0)) for key, total in totals.items()}
        if int(counts.get("tests", 0)) == 0:
            return Outcome(False, "pytest found no test")
    skipped, failed = totals["skipped"], totals["failures"] + totals["errors"]
    passed = totals["tests"] - skipped - failed
    detail = f"{passed} passed, {failed} failed, {skipped} skipped"
    return Outcome(all(well for well, _ in ended) and skipped == 0, detail)


@dataclass(frozen=True, slots=True)
class Layer:
    """A set of checks, and the parts of the testbed that they need."""

    name: str
    about: str
    check: Check
    needs: tuple[str, ...] = ()


# Real processes on a busy machine fail now and then for reasons of their own, such as a port that
# was free a moment ago. Such a test is run once more, and pytest's last line counts it as `rerun`.
_ONCE_MORE = ("--reruns", "1", "--reruns-delay", "5")

_CPUS = os.cpu_count() or 1
# Tests with a cluster wait most of the time: one process more than there are processors.
_WAITING = min(_CPUS + 1, 6)

API_PARTS = (
    "etcd", "kube-apiserver", "kube-apiserver-oldest", "kube-controller-manager", "kubectl", "kwok",
    "manifests/trainer", "manifests/kuberay", "debian/openssl", "versitygw",
)  # fmt: skip
"""What the integration tests need of the testbed."""

LAYERS = (
    Layer("lint", "style, types, layers of imports", _lint),
    Layer("unit", "no cluster", _pytest("unit", min(_CPUS, 6))),
    Layer(
        "integration", "a real API server", _pytest("integration", _WAITING, *_ONCE_MORE), API_PARTS
    ),
    Layer(
        "e2e", "a real cluster with real pods",
        _pytest("e2e", _WAITING, "-v", *_ONCE_MORE, alone=True), tuple(catalogue()),
    ),
)  # fmt: skip
NAMES = tuple(layer.name for layer in LAYERS)


def run_layers(names: Sequence[str]) -> int:
    """Runs the layers of these names, all when empty; returns the exit code.

    The parts of the testbed are built meanwhile, and a layer waits for those that it needs: no
    test's deadline should cover the first build.

    Raises:
        DevError: there is no such layer, the packages cannot be had, or the disk is too small.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise DevError(f"no such layer: {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    heading("packages")
    environment.ensure(Packages.ALL)
    say(f"installed in {environment.VENV}")
    chosen = [layer for layer in LAYERS if layer.name in (names or NAMES)]
    outcomes: dict[str, Outcome] = {}
    with Parts([part for layer in chosen for part in layer.needs]) as parts:
        for layer in chosen:
            heading(f"{layer.name}: {layer.about}")
            begin = time.monotonic()
            outcome = _outcome(layer, parts)
            seconds = time.monotonic() - begin
            outcomes[layer.name] = Outcome(outcome.passed, outcome.detail, seconds)
    return summary(outcomes)


def _outcome(layer: Layer, parts: Parts) -> Outcome:
    try:
        if layer.needs:
            parts.wait(*layer.needs)
    except DevError as error:
        # Said again in the summary; the other layers may well run.
        say(f"error: {error}")
        return Outcome(False, "the testbed could not be built")
    return layer.check()


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
