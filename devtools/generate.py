"""`./dev generate`: the files that are made from the code and its runs. Tests refuse stale ones."""

from __future__ import annotations

from devtools import environment
from devtools.common import run
from devtools.environment import BIN, Packages

_COMMANDS = (
    ("runyard.api.crd", "crds"),
    ("runyard.api.crd", "helm/runyard/files/crds"),
    ("runyard.api.docs", "docs/api.md"),
    ("runyard_operator.docs", "docs"),
    ("tests.support.crash.table", "docs/crash-points.md"),
)


def run_generators() -> int:
    """Writes all generated files; returns the exit code."""
    environment.ensure(Packages.ALL)
    python = str(BIN / "python")
    return max(run([python, "-m", module, target]) for module, target in _COMMANDS)
