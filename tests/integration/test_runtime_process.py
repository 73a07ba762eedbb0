"""The operator as a process: its start, its probes and its end."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.kubectl import Kubectl
from tests.support.operator import OperatorProcess

pytestmark = pytest.mark.integration


def test_sigterm_ends_it_in_good_order(kube: Kubectl, tmp_path: Path) -> None:
    """A ready operator is alive, counts its work, and exits with 0 when it is asked to end."""
    process = OperatorProcess(
        kube.kubeconfig, tmp_path / "operator.log", namespaces=(kube.namespace,)
    )
    process.start()
    with urllib.request.urlopen(f"http://127.0.0.1:{process.port}/livez", timeout=30) as answer:
        assert answer.read() == b"ok\n"
    assert 'runyard_api_request_seconds_count{status="200",verb="list"}' in process.metrics()
    assert process.stop() == 0, process.tail()


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "set RUNYARD_IMAGE or --image"),
        ({"RUNYARD_IMAGE": "x", "RUNYARD_KUBECONFIG": "/nowhere"}, "no way to the API server"),
    ],
)
def test_a_start_that_cannot_work_says_why(environ: dict[str, str], words: str) -> None:
    """Without an image or a way to the API server it exits with a message that says what to do."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RUNYARD_")}
    done = subprocess.run(
        [sys.executable, "-m", "runyard_operator.main"],
        env={**kept, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
