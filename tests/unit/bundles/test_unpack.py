"""The program of the init container, on real folders."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runyard_operator.bundles.bundle import Bundle, bundle
from runyard_operator.bundles.digest import content_digest
from runyard_operator.unpack import (
    FOLDERS_VARIABLE,
    PIPES_VARIABLE,
    SOURCES_VARIABLE,
    UnpackError,
    run,
)
from runyard_operator.unpack.folder import unpack

PART = st.text(alphabet="abc_.-é", min_size=1, max_size=6).filter(
    lambda part: part not in {".", ".."} and not part.startswith("..")
)
PATHS = st.lists(PART, min_size=1, max_size=4).map("/".join)
TREES = st.dictionaries(PATHS, st.text(max_size=30), max_size=8).filter(
    lambda tree: (
        not any(other.startswith(f"{path}/") for path in tree for other in tree if other != path)
    )
)


def as_config_map_volume(folder: Path, files: dict[str, str]) -> None:
    """Writes the files as the kubelet shows a ConfigMap: links to a dated folder."""
    version = folder / "..2026_11_21_10_00_00.123456"
    version.mkdir(parents=True)
    for path, text in files.items():
        whole = version / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(text.encode())
    (folder / "..data").symlink_to(version.name)
    for top in {path.split("/")[0] for path in files}:
        (folder / top).symlink_to(f"..data/{top}")


def read_tree(folder: Path) -> dict[str, str]:
    """The files below the folder, none of which may be a link."""
    found: dict[str, str] = {}
    for path in folder.rglob("*"):
        assert not path.is_symlink()
        if path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes().decode()
    return found


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_any_tree_arrives_as_it_was_packed(files: dict[str, str]) -> None:
    """Bundle, ConfigMap volume, init container: the task sees real files with their sub-paths."""
    packed: Bundle = bundle(files.items())
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        as_config_map_volume(root / "in", files)
        for _ in ("once", "again, as after a restart of the container"):
            unpack(str(root / "in"), str(root / "out"), packed.digest)
            assert read_tree(root / "out") == files


@settings(max_examples=60, deadline=None)
@given(TREES, st.data())
def test_a_link_that_leads_out_is_refused(files: dict[str, str], data: st.DataObject) -> None:
    """Wherever the link lies and however it is written, nothing from outside is copied."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "secret").write_text("secret")
        as_config_map_volume(root / "in", files)
        version = (root / "in" / "..data").resolve()
        folders = [version, *(each for each in version.rglob("*") if each.is_dir())]
        place = data.draw(st.sampled_from(sorted(folders))) / "~link"
        absolute = data.draw(st.booleans())
        outside = root / data.draw(st.sampled_from(["secret", "in/../secret", "missing", "."]))
        place.symlink_to(outside if absolute else os.path.relpath(outside, place.parent))
        with pytest.raises(UnpackError, match="out of its volume"):
            unpack(str(root / "in"), str(root / "out"), None)
        assert not (root / "out").exists()


def test_a_data_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    """The folder that the volume points at lies in the volume."""
    (tmp_path / "in").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in" / "..data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnpackError, match="leads out"):
        unpack(str(tmp_path / "in"), str(tmp_path / "out"), None)


def test_a_link_inside_is_copied_as_a_file(tmp_path: Path) -> None:
    """A volume that is no ConfigMap may hold links among its own files."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.py").write_text("a")
    (tmp_path / "in" / "b.py").symlink_to("a.py")
    unpack(str(tmp_path / "in"), str(tmp_path / "out"), None)
    assert read_tree(tmp_path / "out") == {"a.py": "a", "b.py": "a"}


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """Reading what is neither file nor folder could last for ever."""
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "in" / "pipe")
    with pytest.raises(UnpackError, match="neither a file nor a folder"):
        unpack(str(tmp_path / "in"), str(tmp_path / "out"), None)


def test_changed_content_is_refused(tmp_path: Path) -> None:
    """The digest of the plan decides, so code cannot be swapped behind the task's back."""
    packed = bundle([("a.py", "print(1)")])
    as_config_map_volume(tmp_path / "in", {"a.py": "print(2)"})
    with pytest.raises(UnpackError, match="do not have the digest"):
        unpack(str(tmp_path / "in"), str(tmp_path / "out"), packed.digest)
    assert not (tmp_path / "out").exists()


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    """A link that waits in the target is replaced or refused, never followed."""
    as_config_map_volume(tmp_path / "in", {"a.py": "new", "pkg/b.py": "new"})
    (tmp_path / "victim").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.py").symlink_to(tmp_path / "victim")
    (tmp_path / "out" / "pkg").symlink_to(tmp_path / "folder")
    with pytest.raises(UnpackError, match="something else is there"):
        unpack(str(tmp_path / "in"), str(tmp_path / "out"), None)
    assert (tmp_path / "victim").read_text() == "old"
    assert list((tmp_path / "folder").iterdir()) == []


def test_any_user_can_read_and_create(tmp_path: Path) -> None:
    """The task's container may run as any user: folders are open, files are readable."""
    as_config_map_volume(tmp_path / "in", {"pkg/sub/a.py": "a"})
    before = os.umask(0o077)
    try:
        run(
            {
                FOLDERS_VARIABLE: f"{tmp_path}/code:{tmp_path}/outputs",
                SOURCES_VARIABLE: json.dumps(
                    [{"kind": "folder", "source": f"{tmp_path}/in", "target": f"{tmp_path}/code"}]
                ),
            }
        )
    finally:
        os.umask(before)
    for folder in ("outputs", "code", "code/pkg", "code/pkg/sub"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o777
    assert stat.S_IMODE((tmp_path / "code/pkg/sub/a.py").stat().st_mode) == 0o755


def test_the_program_says_what_is_wrong(tmp_path: Path) -> None:
    """Exit code 1 and one line on stderr, which the kubelet makes the termination message."""
    done = subprocess.run(
        [sys.executable, "-m", "runyard_operator.unpack"],
        env={
            **os.environ,
            SOURCES_VARIABLE: json.dumps(
                [{"kind": "folder", "source": "/nowhere", "target": str(tmp_path)}]
            ),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    expected = "runyard: the code cannot be unpacked: /nowhere is not a folder"
    assert done.stderr.startswith(expected)


def test_the_program_loads_only_the_standard_library() -> None:
    """Every pod waits for it: neither pydantic nor the API models are loaded."""
    code = (
        "import sys, runyard_operator.unpack;"
        "print(sorted({m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": "operator/src"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['__main__', 'runyard_operator']"


@settings(max_examples=100)
@given(st.lists(st.tuples(PATHS, st.binary(max_size=8)), max_size=4))
def test_the_digest_does_not_depend_on_order(files: list[tuple[str, bytes]]) -> None:
    """The same files have the same digest, and other framings of the same bytes another one."""
    assert content_digest(files) == content_digest(files[::-1])
    assert content_digest([("a", b"bc")]) != content_digest([("ab", b"c")])


def test_pipes_are_made_for_every_user(tmp_path: Path) -> None:
    """The roles of a group may run as other users; a second run leaves the pipes as they are."""
    folder = tmp_path / "group"
    environ = {FOLDERS_VARIABLE: str(folder), PIPES_VARIABLE: f"{folder}/a:{folder}/b"}
    for _ in range(2):
        run(environ)
        for name in ("a", "b"):
            mode = (folder / name).stat().st_mode
            assert stat.S_ISFIFO(mode)
            assert stat.S_IMODE(mode) == 0o666
    (folder / "c").touch()
    with pytest.raises(UnpackError, match="must be a pipe"):
        run({**environ, PIPES_VARIABLE: f"{folder}/c"})
