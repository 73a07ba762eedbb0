"""The oldest Kubernetes that is supported: stated, kept to by helm, and the one that is tested."""

from __future__ import annotations

import re

import yaml

from testbed.build.catalogue import OLDEST_KUBERNETES
from tests.support.helm import CHART, ROOT, helm


def minor() -> str:
    """The oldest version without its patch level."""
    return OLDEST_KUBERNETES.removeprefix("v").rpartition(".")[0]


def test_the_chart_states_the_version_that_is_tested() -> None:
    """Pre-releases and vendors' suffixes of the oldest version count as it."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={minor()}.0-0"


def test_helm_refuses_what_is_older() -> None:
    """With the versions named, before anything is installed; a vendor's oldest one is served."""
    major, _, number = minor().partition(".")
    older = helm("template", "x", str(CHART), "--kube-version", f"{major}.{int(number) - 1}.99")
    assert older.returncode != 0
    assert f"requires kubeVersion: >={minor()}.0-0" in older.stderr
    oldest = helm("template", "x", str(CHART), "--kube-version", f"{minor()}.0-eks-1a2b3c")
    assert oldest.returncode == 0, oldest.stderr


def test_the_documents_state_it() -> None:
    """No document names another oldest version."""
    for path in ("README.md", "docs/operations.md"):
        text = (ROOT / path).read_text()
        assert re.findall(r"Kubernetes (\d+\.\d+) or newer", text) == [minor()], path
