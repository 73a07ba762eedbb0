"""Programs from Debian packages, installed on the machine itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.build.artifact import Artifact, Job
from testbed.build.errors import BuildError
from testbed.build.recipes.pypi import pip_python

LOCK_SECONDS = 300
_SBIN = os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))
_QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class DebianPackages:
    """Packages that one apt-get installs; ``PACKAGE:PROGRAM`` is an artefact's source."""

    @property
    def lane(self) -> str:
        return "apt"

    def inputs(self, source: str) -> Mapping[str, str] | None:
        return None

    def locate(self, source: str) -> Path | None:
        package, _, program = source.partition(":")
        if package == "python3-pip":
            return pip_python()
        found = shutil.which(program, path=f"{os.environ.get('PATH', '')}{os.pathsep}{_SBIN}")
        if not found or (package.endswith("-static") and not _is_static(Path(found))):
            return None
        return Path(found)

    def make(self, wanted: Sequence[Artifact], job: Job) -> None:
        if os.geteuid() != 0:
            missing = " ".join(item.source.partition(":")[0] for item in wanted)
            raise BuildError(f"not root: run as root, or install first: apt-get install {missing}")
        apt = ["apt-get", "-q", "-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}"]
        # An update refreshes lists that a fresh machine lacks; a broken foreign source is no reason
        # to stop here, the installation below tells.
        try:
            job.run([*apt, "update"], env=_QUIET)
        except BuildError as error:
            job.say(str(error).splitlines()[0])
        packages = [item.source.partition(":")[0] for item in wanted]
        job.run([*apt, "install", "-y", "--no-install-recommends", *packages], env=_QUIET)
        for item in wanted:
            if self.locate(item.source) is None:
                raise BuildError(f"{item.source} is not there after apt-get install; see {job.log}")


def _is_static(program: Path) -> bool:
    """Say whether a program needs no loader, so that it runs alone in an image."""
    return b"/ld-linux" not in program.read_bytes()
