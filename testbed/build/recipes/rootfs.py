"""Images with a whole system in them: Debian with Python, and what Containerfiles add to it."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.build.artifact import Artifact, Job, digest_tree
from testbed.build.errors import BuildError
from testbed.build.recipes import aptsources
from testbed.build.recipes.images import image_ref, write_archive
from testbed.build.recipes.pypi import PIP

REPOSITORY = Path(__file__).resolve().parents[3]
BASE = "image/python"
CERTIFICATES = Path("/etc/ssl/certs")
# In namespaces of its own a killed command takes its mounts and all its processes with it.
_CONTAINED = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
_PIP_SETTINGS = {
    "index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout",
    "retries", "cert", "client-cert",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DebianRoot:
    """A small Debian with Python and pip; the source is ``RELEASE PACKAGE...``.

    It stands in for the official slim images of Python: ``python`` and ``pip`` work as they do
    there, and pip may install into the system.
    """

    exclude: tuple[str, ...] = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")

    @property
    def lane(self) -> str:
        return "image"

    def inputs(self, source: str) -> Mapping[str, str]:
        return {"source": source, "exclude": " ".join(self.exclude), "script": _TO_OFFICIAL}

    def locate(self, source: str) -> Path | None:
        return None

    def make(self, wanted: Sequence[Artifact], job: Job) -> None:
        mirror = aptsources.mirror(aptsources.read(), aptsources.codename())
        option = f"[signed-by={mirror.signed_by}] " if mirror.signed_by else ""
        settings = job.scratch / "apt.conf"
        settings.write_text(_apt_settings() + 'Acquire::Languages "none";\n')
        for item in wanted:
            release, *packages = item.source.split()
            layer = job.scratch / "layer.tar"
            command = [
                "mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar",
                "--skip=check/empty", f"--aptopt={settings}", "--dpkgopt=force-unsafe-io",
                *(f"--dpkgopt=path-exclude={pattern}" for pattern in self.exclude),
                f"--include={','.join(packages)}", f'--customize-hook=chroot "$1" {_TO_OFFICIAL}',
                release, str(layer), f"deb {option}{mirror.uri} {release} main",
            ]  # fmt: skip
            job.run([*_CONTAINED, *command], env={"TMPDIR": str(job.scratch), **_CLEAN})
            config = {"Cmd": ["python3"], "Env": [f"PATH={_PATH}", "LANG=C.UTF-8"]}
            write_archive(job.target(item.name), image_ref(item.name), layer, config)


@dataclass(frozen=True, slots=True)
class ContainerfileImage:
    """An image that buildah makes from a Containerfile on top of the Debian root.

    The source is ``CONTEXT//CONTAINERFILE``, both from the root of the repository; ``mounts`` puts
    needs into the steps (NEED, PATH), ``content`` names what of the context the image depends on.
    """

    content: tuple[str, ...]
    mounts: tuple[tuple[str, str], ...] = ()
    # Steps that did not change are taken from the last build: for images that change often.
    layered: bool = False

    @property
    def lane(self) -> str:
        return "image"

    def inputs(self, source: str) -> Mapping[str, str]:
        return {
            "source": source,
            "content": digest_tree(REPOSITORY, *self.content),
            "mounts": str(self.mounts),
        }

    def locate(self, source: str) -> Path | None:
        return None

    def make(self, wanted: Sequence[Artifact], job: Job) -> None:
        for item in wanted:
            context, _, containerfile = item.source.partition("//")
            if not (REPOSITORY / containerfile).is_file():
                raise BuildError(f"{containerfile} is missing from the checkout: restore it")
            try:
                self._build(item.name, REPOSITORY / context, REPOSITORY / containerfile, job)
            except BuildError:
                # A store that a kill left in between would fail for ever: the next try starts anew.
                shutil.rmtree(job.keep, ignore_errors=True)
                raise

    def _build(self, name: str, context: Path, containerfile: Path, job: Job) -> None:
        home = job.keep if self.layered else job.scratch
        buildah = [
            *_CONTAINED, "buildah", "--root", str(home / "store"),
            "--runroot", str(job.scratch / "run"), "--storage-driver", "overlay",
        ]  # fmt: skip
        base = image_ref(BASE)
        env = {**_CLEAN, "TMPDIR": str(job.scratch)}
        job.run([*buildah, "pull", "-q", f"docker-archive:{job.path(BASE)}"], env=env)
        mounts = [f"{job.path(need)}:{path}:ro" for need, path in self.mounts]
        mounts += _network_mounts(job)
        command = [
            "bud", "--isolation", "chroot", "--network", "host", "--pull-never",
            f"--layers={str(self.layered).lower()}", "--build-arg", f"BASE_IMAGE={base}",
            *(word for mount in mounts for word in ("--volume", mount)),
            "--tag", image_ref(name), "--file", str(containerfile), str(context),
        ]  # fmt: skip
        job.run([*buildah, *command], env=env)
        job.say("writing the archive")
        archive = f"docker-archive:{job.target(name)}:{image_ref(name)}"
        job.run(
            [*buildah, "push", "-q", "--disable-compression", image_ref(name), archive], env=env
        )


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CLEAN = {"LC_ALL": "C.UTF-8", "PATH": f"{os.environ.get('PATH', '')}:{_PATH}"}
_TO_OFFICIAL = (
    "sh -c 'ln -sf python3 /usr/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED"
    " && rm -rf /var/cache/apt/* /var/lib/apt/lists/* /var/log/*.log /var/log/apt'"
)


def _apt_settings() -> str:
    """Return how this machine's apt reaches its mirror (proxies, checks), as a settings file."""
    dump = ["apt-config", "dump", "--no-empty", "--format", '%F "%v";%n', "Acquire"]
    done = subprocess.run(dump, capture_output=True, text=True)
    kept = ("Acquire::http", "Acquire::https", "Acquire::Check", "Acquire::Retries")
    return "".join(f"{line}\n" for line in done.stdout.splitlines() if line.startswith(kept))


def _network_mounts(job: Job) -> list[str]:
    """Give the steps this machine's certificates and pip settings, kept out of the image."""
    mounts = [f"{CERTIFICATES}:{CERTIFICATES}:ro"] if CERTIFICATES.is_dir() else []
    settings = _pip_settings(job.path(PIP))
    if settings:
        path = job.scratch / "pip.conf"
        with path.open("w") as sink:
            parser = configparser.RawConfigParser()
            parser.read_dict({"global": settings})
            parser.write(sink)
        mounts.append(f"{path}:/etc/pip.conf:ro")
    for option in ("cert", "client-cert"):
        file = Path(settings.get(option, "/nonexistent"))
        if file.is_file() and not file.is_relative_to(CERTIFICATES):
            mounts.append(f"{file}:{file}:ro")
    return mounts


def _pip_settings(python: Path) -> dict[str, str]:
    """Return the machine's pip settings that say how to reach the registry."""
    listed = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True)
    settings = {}
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        if option in _PIP_SETTINGS:
            settings[option] = value.strip("'\"")
    return settings
