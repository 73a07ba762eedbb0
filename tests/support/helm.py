"""The real helm binary, and what the chart renders to."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "runyard"
NAMESPACE = "runyard-system"

Object = dict[str, Any]


def binary() -> str:
    """The helm of the environment that runs the tests, else the one on PATH."""
    beside = Path(sys.executable).with_name("helm")
    found = str(beside) if beside.exists() else shutil.which("helm")
    if found is None:
        raise AssertionError("no helm: install the constraints of this repository")
    return found


def helm(
    *args: str, kubeconfig: Path | None = None, home: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The finished command, whatever its exit code; `home` keeps its caches apart."""
    environment = {**os.environ}
    if kubeconfig is not None:
        environment["KUBECONFIG"] = str(kubeconfig)
    if home is not None:
        environment |= {f"HELM_{kind}_HOME": str(home) for kind in ("CACHE", "CONFIG", "DATA")}
    return subprocess.run(
        [binary(), *args], env=environment, text=True, capture_output=True, check=False, timeout=300
    )


@functools.cache
def render(*options: str, release: str = "runyard") -> list[Object]:
    """The objects of `helm template` with these options; not to be changed, they are kept.

    Raises:
        AssertionError: helm refuses; with what it says.
    """
    done = helm("template", release, str(CHART), "--namespace", NAMESPACE, *options)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """The rendered objects of one kind."""
    return [each for each in objects if each["kind"] == kind]


def grants(role: Object) -> dict[str, list[str]]:
    """What a role allows: `resource.group` to its verbs."""
    table: dict[str, list[str]] = {}
    for rule in role["rules"] or []:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                name = f"{resource}.{group}" if group else resource
                table[name] = sorted({*table.get(name, []), *rule["verbs"]})
    return table
