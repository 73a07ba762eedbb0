"""Image archives written without any tool."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from testbed.build.artifact import Artifact, Job
from testbed.build.commands import Commands
from testbed.build.recipes.images import ProgramImage


def _job(folder: Path) -> Job:
    (folder / "scratch").mkdir(parents=True)
    (folder / "program").write_bytes(b"\x7fELF program")
    return Job(
        Commands(),
        folder / "log",
        folder / "scratch",
        folder / "keep",
        lambda _need: folder / "program",
        lambda name: folder / name.rpartition("/")[2],
        lambda _text: None,
    )


def _make(folder: Path) -> bytes:
    recipe = ProgramImage(("/manager", "--flag"))
    recipe.make([Artifact("image/jobset", recipe, "jobset=/manager")], _job(folder))
    return (folder / "jobset").read_bytes()


def test_an_archive_holds_the_program_as_one_layer(tmp_path: Path) -> None:
    """Manifest, config and layer name each other by their digests; the user is a number."""
    with tarfile.open(fileobj=io.BytesIO(_make(tmp_path))) as archive:
        files = {
            member.name: stream.read()
            for member in archive
            if (stream := archive.extractfile(member)) is not None
        }
    (manifest,) = json.loads(files["manifest.json"])
    assert manifest["RepoTags"] == ["testbed.local/jobset:dev"]
    config = json.loads(files[manifest["Config"]])
    (layer,) = manifest["Layers"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(files[layer]).hexdigest()}"]
    assert config["config"]["Entrypoint"] == ["/manager", "--flag"]
    assert config["config"]["User"] == "65532:65532"
    with tarfile.open(fileobj=io.BytesIO(files[layer])) as inner:
        (program,) = inner.getmembers()
        assert (program.name, program.mode) == ("manager", 0o755)


def test_the_same_program_gives_the_same_bytes(tmp_path: Path) -> None:
    """Nothing of the time or the place gets into an archive."""
    assert _make(tmp_path / "a") == _make(tmp_path / "b")
