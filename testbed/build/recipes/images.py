"""Images of a single program: written as archives right here, without any other tool."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.build.artifact import Artifact, Job

REGISTRY = "testbed.local"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
NONROOT = "65532:65532"


def image_ref(name: str) -> str:
    """Return the reference under which an image is imported.

    >>> image_ref("image/worker")
    'testbed.local/worker:dev'
    """
    short = name.removeprefix("image/")
    return f"{REGISTRY}/{short}:{'1' if short in ('pause', 'coredns') else 'dev'}"


@dataclass(frozen=True, slots=True)
class ProgramImage:
    """An image from scratch with one static program; the source says which: ``NEED=PATH``."""

    command: tuple[str, ...]
    user: str = NONROOT
    # The program's process name picks the applet in busybox.
    links: tuple[str, ...] = ()

    @property
    def lane(self) -> str:
        return "light"

    def inputs(self, source: str) -> Mapping[str, str]:
        return {
            "source": source,
            "command": json.dumps(self.command),
            "user": self.user,
            "links": json.dumps(self.links),
        }

    def locate(self, source: str) -> Path | None:
        return None

    def make(self, wanted: Sequence[Artifact], job: Job) -> None:
        for item in wanted:
            need, _, path = item.source.partition("=")
            layer = job.scratch / f"{item.name.rpartition('/')[2]}.layer"
            with tarfile.open(layer, "w") as archive:
                _add_file(archive, path, job.path(need).read_bytes())
                for link in self.links:
                    _add_link(archive, link, path)
            config = {"Entrypoint": list(self.command), "User": self.user, "WorkingDir": "/"}
            write_archive(job.target(item.name), image_ref(item.name), layer, config)


def write_archive(target: Path, ref: str, layer: Path, config: Mapping[str, object]) -> None:
    """Write an image of one layer (an uncompressed tar) in the format of ``docker save``.

    The same layer and config give the same bytes.
    """
    with layer.open("rb") as stream:
        layer_id = hashlib.file_digest(stream, "sha256").hexdigest()
    document = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_id}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "testbed"}],
    }
    body = json.dumps(document, sort_keys=True).encode()
    config_name = f"{hashlib.sha256(body).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [ref], "Layers": [f"{layer_id}.tar"]}]
    with tarfile.open(target, "w") as archive:
        _add_file(archive, "manifest.json", json.dumps(manifest).encode(), mode=0o644)
        _add_file(archive, config_name, body, mode=0o644)
        info = tarfile.TarInfo(f"{layer_id}.tar")
        info.size = layer.stat().st_size
        info.mode = 0o644
        with layer.open("rb") as stream:
            archive.addfile(info, stream)


def _add_file(archive: tarfile.TarFile, path: str, content: bytes, mode: int = 0o755) -> None:
    info = tarfile.TarInfo(path.lstrip("/"))
    info.size = len(content)
    info.mode = mode
    archive.addfile(info, io.BytesIO(content))


def _add_link(archive: tarfile.TarFile, path: str, target: str) -> None:
    info = tarfile.TarInfo(path.lstrip("/"))
    info.type = tarfile.SYMTYPE
    info.linkname = target
    info.mode = 0o777
    archive.addfile(info)
