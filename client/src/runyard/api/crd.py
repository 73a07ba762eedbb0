"""Generates the CustomResourceDefinitions from the models: `python -m runyard.api.crd [FOLDER]`.

pydantic's JSON schema is not structural in Kubernetes' sense: references, `anyOf` with null,
`title` and `const` must go (https://kubernetes.io/docs/tasks/extend-kubernetes/
custom-resources/custom-resource-definitions/#specifying-a-structural-schema).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runyard.api.backend import BackendSpec
from runyard.api.base import ApiModel, rule
from runyard.api.constants import CATEGORY, GROUP, VERSION
from runyard.api.experiment import ExperimentSpec, ExperimentStatus
from runyard.api.profile import ProfileSpec
from runyard.api.unit import UnitSpec, UnitStatus

Schema = dict[str, Any]

# `additionalProperties: false` is not allowed beside `properties` in a structural schema, and the
# rest carries nothing that the API server would check.
_DROPPED = {"title", "$defs", "additionalProperties", "const", "anyOf", "properties", "items"}


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column; those of priority 1 show with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0

    def to_dict(self) -> Schema:
        column: Schema = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.priority:
            column["priority"] = self.priority
        return column


@dataclass(frozen=True, slots=True)
class Kind:
    """What a CRD needs beside the schema of its models."""

    kind: str
    plural: str
    short_name: str
    spec: type[ApiModel]
    description: str
    status: type[ApiModel] | None = None
    scope: str = "Namespaced"
    columns: tuple[Column, ...] = ()
    selectable: tuple[str, ...] = field(default=())


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
# Names and ages of both kinds side by side fit into 80 columns only without it.
_REASON = Column("Reason", ".status.reason", priority=1)

KINDS: tuple[Kind, ...] = (
    Kind(
        kind="Experiment",
        plural="experiments",
        short_name="rexp",
        spec=ExperimentSpec,
        status=ExperimentStatus,
        description="A DAG of machine-learning tasks that the operator runs on their executors.",
        columns=(
            Column("Phase", ".status.phase"),
            Column("Done", ".status.progress"),
            _REASON,
            _AGE,
            Column("Message", ".status.message", priority=1),
        ),
        selectable=(".status.phase",),
    ),
    Kind(
        kind="ExecutionUnit",
        plural="executionunits",
        short_name="reu",
        spec=UnitSpec,
        status=UnitStatus,
        description="One task on one executor, submitted exactly once for each attempt.",
        columns=(
            Column("Phase", ".status.phase"),
            _REASON,
            _AGE,
            Column("Experiment", ".spec.experiment", priority=1),
            Column("Message", ".status.message", priority=1),
        ),
        selectable=(".status.phase", ".spec.experiment"),
    ),
    Kind(
        kind="ExecutionProfile",
        plural="executionprofiles",
        short_name="rprofile",
        spec=ProfileSpec,
        description="A named, inheritable set of defaults for tasks; it holds no credentials.",
        columns=(Column("Extends", ".spec.extends"), _AGE),
    ),
    Kind(
        kind="Backend",
        plural="backends",
        short_name="rbackend",
        spec=BackendSpec,
        description="A place outside the cluster where tasks may run; administrators write it.",
        scope="Cluster",
        columns=(_AGE,),
    ),
)


def structural(model: type[ApiModel]) -> Schema:
    """The structural OpenAPI v3 schema of a model.

    Raises:
        ValueError: the model is recursive, or has a union that no structural schema can express.
    """
    document = model.model_json_schema(by_alias=True, mode="validation")
    return _flatten(document, document.get("$defs", {}), ())


def _flatten(schema: Schema, defs: Mapping[str, Schema], seen: tuple[str, ...]) -> Schema:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        if name in seen:
            raise ValueError(f"{name} is recursive: a CRD schema cannot be")
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _flatten({**defs[name], **beside}, defs, (*seen, name))
    if "anyOf" in schema:
        return _flatten(_without_null(schema), defs, seen)
    flat = {key: value for key, value in schema.items() if key not in _DROPPED}
    if "const" in schema:
        flat["enum"] = [schema["const"]]
    if flat.get("default", 0) is None:
        del flat["default"]
    if "properties" in schema:
        flat["properties"] = {
            name: _flatten(child, defs, seen) for name, child in schema["properties"].items()
        }
    if "items" in schema:
        flat["items"] = _flatten(schema["items"], defs, seen)
    if isinstance(schema.get("additionalProperties"), dict):
        flat["additionalProperties"] = _flatten(schema["additionalProperties"], defs, seen)
    return flat


def _without_null(schema: Schema) -> Schema:
    """`X | None` becomes X: an unset field is absent on the wire, never null."""
    branches = [branch for branch in schema["anyOf"] if branch.get("type") != "null"]
    if len(branches) != 1:
        raise ValueError(f"a structural schema cannot express the union {schema['anyOf']}")
    return {**branches[0], **{key: value for key, value in schema.items() if key != "anyOf"}}


def _object_schema(kind: Kind) -> Schema:
    properties: Schema = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": structural(kind.spec),
    }
    schema: Schema = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": properties,
    }
    if kind.status is None:
        return schema
    # Without the default, a GitOps tool that looks before the operator's first write takes the
    # fresh object for finished: kstatus compares observedGeneration with the generation.
    properties["status"] = {**structural(kind.status), "default": {"observedGeneration": -1}}
    schema["x-kubernetes-validations"] = [
        rule(
            "self.metadata.name.size() <= 63"
            " && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "metadata.name must be a DNS label that begins with a letter, at most 63 characters:"
            " pods and services are named after it",
        )
    ]
    return schema


def crd(kind: Kind) -> Schema:
    """The CustomResourceDefinition of one kind."""
    version: Schema = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [column.to_dict() for column in kind.columns],
        "schema": {"openAPIV3Schema": _object_schema(kind)},
    }
    if kind.status is not None:
        version["subresources"] = {"status": {}}
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": kind.scope,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short_name],
                "categories": [CATEGORY],
            },
            "versions": [version],
        },
    }


def render(kind: Kind) -> str:
    """The CRD as YAML text, stable from run to run."""
    import yaml

    head = "# Generated by `python -m runyard.api.crd`; do not edit.\n"
    return head + yaml.safe_dump(crd(kind), sort_keys=False, width=100)


def write(folder: Path) -> list[Path]:
    """Writes one file for each kind into `folder` and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in KINDS:
        path = folder / f"{GROUP}_{kind.plural}.yaml"
        path.write_text(render(kind), encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write(Path(sys.argv[1] if len(sys.argv) > 1 else "crds")):
        sys.stdout.write(f"{written}\n")
