"""Manifests, and the lines of their fields."""

from __future__ import annotations

from pathlib import Path

import pytest

from runyard.cli.errors import CliError
from runyard.cli.manifests import read

TWO = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
---
# nothing here
---
apiVersion: runyard.dev/v1alpha1
kind: Experiment
metadata:
  name: b
spec:
  tasks:
  - name: first
    script: &script {inline: x}
  - name: second
    script: *script
    executor:
      job:
        cpu: lots
"""


def write(tmp_path: Path, text: str, name: str = "x.yaml") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_documents_are_counted_and_empty_ones_passed_over(tmp_path: Path) -> None:
    """Each object knows its file and document."""
    path = write(tmp_path, TWO)
    first, second = read([path])
    assert (first.kind, first.name, first.place) == ("ConfigMap", "a", f"{path}, document 1")
    assert (second.kind, second.name, second.document) == ("Experiment", "b", 2)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("spec.tasks[1].executor.job.cpu", 19),
        ('spec.tasks[name="second"].executor', 17),
        ("spec.tasks[0]", 13),
        ("spec.tasks[1].executor.job.memory", 18),
        ("spec.tasks[7].name", 12),
        ("metadata.name", 10),
        ("status", None),
    ],
)
def test_a_field_is_found_in_its_file(path: str, line: int | None, tmp_path: Path) -> None:
    """The API server's paths lead to lines; of what is not there, to what holds it."""
    assert read([write(tmp_path, TWO)])[1].line(path) == line


def test_a_list_is_its_items(tmp_path: Path) -> None:
    """What kubectl get prints can be applied."""
    text = """{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b"}}]}"""
    found = read([write(tmp_path, text, "list.json")])
    assert [each.kind for each in found] == ["ConfigMap", "Secret"]
    assert found[1].line("metadata.name") == 3


HEAD = "apiVersion: v1\nkind: ConfigMap\n"
BAD: dict[str, tuple[str, str]] = {
    "a tab": (
        "a:\n\tb: c\n",
        "line 2, column 1: this is not YAML: .*cannot start any token",
    ),
    "an open bracket": ("a: [1,\n", "line 2, column 1: this is not YAML"),
    "an unknown anchor": ("a: *nobody\n", "line 1, column 4: this is not YAML"),
    "a text": ("hello\n", "is a mapping with apiVersion and kind, this is a str"),
    "no version": ("kind: ConfigMap\nmetadata: {name: a}\n", "apiVersion is missing"),
    "no kind": ("apiVersion: v1\nmetadata: {name: a}\n", "kind is missing"),
    "no name": (HEAD + "metadata: {generateName: a-}\n", "metadata.name is missing"),
    "a name that is no text": (HEAD + "metadata: {name: 1}\n", "must be text, it is 1"),
    "metadata that is no mapping": (HEAD + "metadata: [a]\n", "metadata must be a mapping"),
    "no object": ("# nothing\n---\n", "no object in it"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_applied_is_refused(case: str, tmp_path: Path) -> None:
    """File and place of the mistake are named, and it counts as wrong usage."""
    text, said = BAD[case]
    path = write(tmp_path, text)
    with pytest.raises(CliError, match=said) as caught:
        read([path])
    assert str(caught.value).startswith(path)
    assert caught.value.code == 2


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """A missing file, an empty folder and a binary are told apart."""
    with pytest.raises(CliError, match="there is no such file"):
        read([str(tmp_path / "missing.yaml")])
    with pytest.raises(CliError, match=r"holds no \.yaml, \.yml, \.json file"):
        read([str(tmp_path)])
    (tmp_path / "image.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CliError, match="is not UTF-8"):
        read([str(tmp_path / "image.yaml")])
