"""Reads manifests from files, folders and standard input, and finds a field's line in them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from runyard.cli.errors import USAGE, CliError

SUFFIXES: Final = (".yaml", ".yml", ".json")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STEP: Final = re.compile(r"\[(\d+)\]|\[(\w+)=\"([^\"]*)\"\]|([^.\[\]]+)")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object and where it was written."""

    item: dict[str, Any]
    source: str
    """The file's name; "standard input" for -."""
    document: int
    """Number of the document in the file, from 1."""
    documents: int
    node: yaml.Node

    @property
    def kind(self) -> str:
        """The object's kind."""
        return str(self.item["kind"])

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.item["metadata"]["name"])

    @property
    def place(self) -> str:
        """For messages: the file, and the document where there are several."""
        return f"{self.source}, document {self.document}" if self.documents > 1 else self.source

    def line(self, path: str) -> int | None:
        """The line of the field at `path` such as spec.tasks[0].script, or of what holds it."""
        return locate(self.node, path)


def read(sources: Sequence[str]) -> list[Manifest]:
    """Every object of the sources, in order.

    Raises:
        CliError: something cannot be read, or is no Kubernetes object; says where.
    """
    manifests: list[Manifest] = []
    for source, text in _texts(sources):
        manifests += _parse(source, text)
    if not manifests:
        raise CliError(f"{', '.join(sources)}: no object in it", code=USAGE)
    return manifests


def _texts(sources: Sequence[str]) -> Iterator[tuple[str, str]]:
    for source in sources:
        if source == "-":
            yield "standard input", sys.stdin.read()
            continue
        path = Path(source)
        try:
            files = [path]
            if path.is_dir():
                files = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES)
                if not files:
                    raise CliError(
                        f"{source}: the folder holds no {', '.join(SUFFIXES)} file", code=USAGE
                    )
            for file in files:
                yield str(file), file.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise CliError(f"{source}: there is no such file", code=USAGE) from None
        except UnicodeDecodeError as error:
            raise CliError(f"{source}: the file is not UTF-8 text: {error}", code=USAGE) from error
        except OSError as error:
            raise CliError(
                f"{source}: the file cannot be read: {error.strerror}", code=USAGE
            ) from error


def _parse(source: str, text: str) -> list[Manifest]:
    manifests = []
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=_LOADER) if node is not None]
        items = [item for item in yaml.load_all(text, Loader=_LOADER) if item is not None]
    except yaml.YAMLError as error:
        raise _bad_yaml(source, error) from error
    # An empty document composes to no node or to a null, by the loader: both lists drop it.
    nodes = [node for node in nodes if node.tag != "tag:yaml.org,2002:null"]
    for number, (item, node) in enumerate(zip(items, nodes, strict=True), start=1):
        place = f"{source}, document {number}" if len(items) > 1 else source
        for each, its_node in _unpacked(item, node):
            _check(each, place)
            manifests.append(Manifest(each, source, number, len(items), its_node))
    return manifests


def _unpacked(item: Any, node: yaml.Node) -> list[tuple[Any, yaml.Node]]:
    """The objects of a List, else the object itself."""
    if not isinstance(item, dict) or item.get("kind") != "List":
        return [(item, node)]
    inner = _child(node, "items")
    nodes = inner.value if isinstance(inner, yaml.SequenceNode) else []
    return list(zip(item.get("items") or [], nodes, strict=False))


def _bad_yaml(source: str, error: yaml.YAMLError) -> CliError:
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    problem = getattr(error, "problem", None) or str(error)
    context = getattr(error, "context", None)
    said = f"{context}: {problem}" if context else problem
    hint = "indent with spaces" if "\\t" in said else "correct the file; nothing was applied"
    return CliError(f"{source}{where}: this is not YAML: {said}", hint, USAGE)


def _check(item: Any, place: str) -> None:
    """Refuses what is no Kubernetes object that can be applied."""
    if not isinstance(item, dict):
        raise CliError(
            f"{place}: a Kubernetes object is a mapping with apiVersion and kind,"
            f" this is a {type(item).__name__}",
            code=USAGE,
        )
    metadata = item.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise CliError(f"{place}: metadata must be a mapping", code=USAGE)
    for field, value in (
        ("apiVersion", item.get("apiVersion")),
        ("kind", item.get("kind")),
        ("metadata.name", (metadata or {}).get("name")),
    ):
        if isinstance(value, str) and value:
            continue
        if value is not None:
            raise CliError(f"{place}: {field} must be text, it is {value!r}", code=USAGE)
        hint = "for example apiVersion: runyard.dev/v1alpha1" if field == "apiVersion" else ""
        raise CliError(f"{place}: {field} is missing", hint, USAGE)


def locate(node: yaml.Node, path: str) -> int | None:
    """The line, from 1, of the deepest part of `path` that the document has."""
    line: int | None = None
    for index, key, value, name in _STEP.findall(path):
        child: yaml.Node | None = None
        if name:
            child = _child(node, name)
            line = _key_line(node, name) or line
        elif isinstance(node, yaml.SequenceNode):
            if index and int(index) < len(node.value):
                child = node.value[int(index)]
            elif key:
                child = next((each for each in node.value if _scalar(each, key) == value), None)
            line = child.start_mark.line + 1 if child is not None else line
        if child is None:
            break
        node = child
    return line


def _child(node: yaml.Node, name: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == name:
                return value  # type: ignore[no-any-return]
    return None


def _key_line(node: yaml.Node, name: str) -> int | None:
    if isinstance(node, yaml.MappingNode):
        for key, _ in node.value:
            if key.value == name:
                return int(key.start_mark.line) + 1
    return None


def _scalar(node: yaml.Node, name: str) -> str | None:
    child = _child(node, name)
    return str(child.value) if isinstance(child, yaml.ScalarNode) else None
