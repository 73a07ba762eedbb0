"""Says why the API server refused a manifest: the file, the line, the field, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, get_args

from runyard.cli.errors import conflict, explain, suggestion
from runyard.cli.manifests import Manifest
from runyard.kube.errors import ApiError, KubeError

_UNKNOWN: Final = re.compile(r'unknown field "([^"]+)"')
_UNDECLARED: Final = re.compile(r"\.((?:[^\s:\[]|\[[^\]]*\])+): field not declared in schema")


def refusal(manifest: Manifest, error: KubeError) -> list[str]:
    """Lines for the user about one manifest that was not applied."""
    head = f"{manifest.place}: {manifest.kind.lower()} {manifest.name} was refused"
    if not isinstance(error, ApiError) or error.code in (401, 403, 404):
        return _plain(head, error)
    if error.code == 409 and error.details.get("causes"):
        said = conflict(error)
        return [f"{head}:", f"  {said}", f"  {said.hint}"]
    found = list(_fields(manifest, error))
    if not found:
        return [f"{head}: {_short(error, manifest)}"]
    return [f"{head}:", *(f"  {each}" for each in found)]


def _plain(head: str, error: KubeError) -> list[str]:
    said = explain(error)
    return [f"{head}: {said}", *([f"  {said.hint}"] if said.hint else [])]


def _short(error: ApiError, manifest: Manifest) -> str:
    """The message without the parts that the head has said."""
    message = error.message
    for noise in (
        rf"^{manifest.kind}\.\S+ \"{re.escape(manifest.name)}\" is invalid: ",
        r"^failed to create typed patch object \([^)]*\): ",
        r"^.*strict decoding error: ",
    ):
        message = re.sub(noise, "", message)
    return message


def _fields(manifest: Manifest, error: ApiError) -> Iterator[str]:
    """One line for each refused field, in the order of the file."""
    lines = []
    for path, said in _refused(error):
        line = manifest.line(path)
        where = f"line {line}: " if line is not None else ""
        lines.append((line or 0, f"{where}{path}: {_advice(manifest, path, said)}"))
    for _, text in sorted(lines, key=lambda each: each[0]):
        yield text


def _refused(error: ApiError) -> Iterator[tuple[str, str]]:
    seen = set()
    for pattern in (_UNKNOWN, _UNDECLARED):
        for path in pattern.findall(error.message):
            if path not in seen:
                seen.add(path)
                yield path, "there is no such field"
    if seen:
        return
    for cause in error.causes:
        if cause.field and cause.field != "<nil>" and (cause.field, cause.message) not in seen:
            seen.add((cause.field, cause.message))
            yield cause.field, _words(cause.message)


def _words(message: str) -> str:
    """The API server's words without its echo of the value, which may be a whole object."""
    message = re.sub(r'^Invalid value: (?:"(?:[^"\\]|\\.)*"|\S+): ', "", message)
    message = re.sub(r"^\S+ in body ", "", message)
    message = re.sub(r"^Unsupported value: ", "unsupported value ", message)
    return message if message != "Required value" else "a value is required"


def _advice(manifest: Manifest, path: str, said: str) -> str:
    if said == "there is no such field":
        near = suggestion(path.rsplit(".", 1)[-1], _known_fields(manifest.kind, path))
        return f"{said}; {near}" if near else said
    return said


def _known_fields(kind: str, path: str) -> list[str]:
    """The fields that may stand beside the last part of `path`, from the models."""
    from runyard.api import BackendSpec, ExperimentSpec, ProfileSpec, UnitSpec

    model: Any = {
        "Experiment": ExperimentSpec,
        "ExecutionUnit": UnitSpec,
        "ExecutionProfile": ProfileSpec,
        "Backend": BackendSpec,
    }.get(kind)
    names = re.sub(r"\[[^\]]*\]", "", path).split(".")
    if model is None or names[0] != "spec":
        return []
    for name in names[1:-1]:
        field = next(
            (each for each in model.model_fields.values() if (each.alias or "") == name), None
        )
        model = _model_of(field.annotation) if field is not None else None
        if model is None:
            return []
    return [each.alias or name for name, each in model.model_fields.items()]


def _model_of(annotation: Any) -> Any:
    """The model inside an annotation such as `list[Task]` or `Code | None`."""
    if hasattr(annotation, "model_fields"):
        return annotation
    for inner in get_args(annotation):
        found = _model_of(inner)
        if found is not None:
            return found
    return None
