"""The examples against the API models, and the quickstart's code where it needs no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runyard.api import ExperimentSpec, ProfileSpec
from tests.support.examples import FILES, FOLDER, experiment, inline_code, objects

QUICKSTART = FOLDER / "quickstart.yaml"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_example_is_valid(path: Path) -> None:
    """Each object of an example is what the API models accept."""
    models = {"Experiment": ExperimentSpec, "ExecutionProfile": ProfileSpec}
    ours = [each for each in objects(path) if each["apiVersion"] == "runyard.dev/v1alpha1"]
    assert ours
    for each in ours:
        models[each["kind"]].model_validate(each["spec"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_example_can_be_moved_to_another_namespace(path: Path) -> None:
    """No example names a namespace, so `-n` decides."""
    assert all("namespace" not in each["metadata"] for each in objects(path))


def unpacked(folder: Path) -> Path:
    """The quickstart's code as the pods see it."""
    for name, content in inline_code(QUICKSTART).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    return folder


def test_quickstart_code_compiles() -> None:
    """Every inline file is Python, in at least one folder below the top, with short lines."""
    files = inline_code(QUICKSTART)
    for name, content in files.items():
        compile(content, name, "exec")
        assert max(map(len, content.splitlines())) <= 92, name
    assert any("/" in name for name in files)


def test_quickstart_scripts_exist() -> None:
    """Each task's script is one of the inline files."""
    scripts = {each["script"]["path"] for each in experiment(QUICKSTART)["spec"]["tasks"]}
    assert scripts <= set(inline_code(QUICKSTART))


def test_quickstart_names_its_image_once() -> None:
    """A user changes one line to run it with another image."""
    lines = [line for line in QUICKSTART.read_text().splitlines() if "image:" in line]
    assert len(lines) == 1


def test_quickstart_outputs_are_the_ones_written() -> None:
    """Each task's script writes exactly the outputs that the task declares."""
    files = inline_code(QUICKSTART)
    for task in experiment(QUICKSTART)["spec"]["tasks"]:
        (call,) = (
            line for line in files[task["script"]["path"]].splitlines() if "results.write(" in line
        )
        declared = [each["name"] for each in task["outputs"]]
        assert all(f"{name}=" in call for name in declared), call
        assert call.replace("==", "").count("=") == len(declared)


def prepare(folder: Path, licences: Path) -> subprocess.CompletedProcess[str]:
    """Runs the quickstart's prepare.py on other texts."""
    code = unpacked(folder / "code")
    text = code / "charlm" / "text.py"
    text.write_text(text.read_text().replace("/usr/share/common-licenses", str(licences)))
    for name in ("data", "outputs"):
        (folder / name).mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "DATA": str(folder / "data"),
        "RUNYARD_OUTPUTS": str(folder / "outputs"),
    }
    return subprocess.run(
        [sys.executable, "prepare.py"],
        cwd=code, env=environment, text=True, capture_output=True, check=False,
    )  # fmt: skip


def test_prepare_writes_text_as_numbers(tmp_path: Path) -> None:
    """Each text counts once, links aside, and its numbers give the cleaned text back."""
    licences = tmp_path / "licences"
    licences.mkdir()
    (licences / "ONE").write_text("  The first\n\n\n\n text\tof \u00e9two.\n" * 10)
    (licences / "LINK").symlink_to("ONE")
    done = prepare(tmp_path, licences)
    assert done.returncode == 0, done.stderr
    vocabulary: Any = json.loads((tmp_path / "data" / "vocabulary.json").read_text())
    parts = [(tmp_path / "data" / f"{name}.bin").read_bytes() for name in ("train", "validation")]
    text = "".join(vocabulary[number] for part in parts for number in part)
    assert text == "\n".join(["The first\n\ntext of two."] * 10)
    assert (tmp_path / "outputs" / "characters").read_text() == str(len(text))


def test_prepare_says_which_image_to_use(tmp_path: Path) -> None:
    """Without texts the task fails and says what to do."""
    done = prepare(tmp_path, tmp_path / "nowhere")
    assert done.returncode == 1
    assert "use an image that is based on Debian or Ubuntu" in done.stderr
