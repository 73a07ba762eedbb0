"""The generator of CRDs: structural schemas only, and files that match the models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import Field

from runyard.api import crd
from runyard.api.base import ApiModel, map_by, rule, with_rules

ROOT = Path(__file__).parents[3]
FORBIDDEN = {
    "$ref",
    "$defs",
    "anyOf",
    "oneOf",
    "allOf",
    "title",
    "nullable",
    "const",
    "definitions",
}
KINDS = {kind.kind: kind for kind in crd.KINDS}


def schemas(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema, with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from schemas(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from schemas(node[key], f"{path}[]")


def whole(kind: str) -> dict[str, Any]:
    """The schema of a kind's object."""
    (version,) = crd.crd(KINDS[kind])["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_what_the_models_say(kind: str) -> None:
    """After a change of the models, `python -m runyard.api.crd` is run and committed."""
    path = ROOT / "crds" / f"runyard.dev_{KINDS[kind].plural}.yaml"
    assert path.read_text(encoding="utf-8") == crd.render(KINDS[kind])


def test_no_file_is_left_over(tmp_path: Path) -> None:
    """The folder has exactly the generated files."""
    written = {path.name for path in crd.write(tmp_path)}
    assert {path.name for path in (ROOT / "crds").iterdir()} == written


def test_the_yaml_reads_back_as_what_was_meant() -> None:
    """Texts such as "yes" or "04:00" survive the trip through YAML."""
    for kind in crd.KINDS:
        assert yaml.safe_load(crd.render(kind)) == crd.crd(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_schema_is_structural(kind: str) -> None:
    """Each part has a type and none of what the API server calls non-structural."""
    for path, schema in schemas(whole(kind)):
        assert "type" in schema, path
        assert not FORBIDDEN & schema.keys(), path
        both = {"properties", "additionalProperties"} & schema.keys()
        assert len(both) <= 1, path


@pytest.mark.parametrize("kind", KINDS)
def test_every_list_and_map_says_how_it_merges_and_how_long_it_gets(kind: str) -> None:
    """Without a bound the API server assumes the longest, and the rules cost too much."""
    for path, schema in schemas(whole(kind)):
        if schema["type"] == "array":
            assert schema["x-kubernetes-list-type"] in ("map", "set", "atomic"), path
            assert "maxItems" in schema, path
        if isinstance(schema.get("additionalProperties"), dict):
            assert "maxProperties" in schema, path


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_is_bounded(kind: str) -> None:
    """A status or spec without bounds can outgrow etcd."""
    for path, schema in schemas(whole(kind)):
        if schema["type"] != "string" or path in (".apiVersion", ".kind"):
            continue
        assert {"maxLength", "enum", "format"} & schema.keys(), path


@pytest.mark.parametrize("kind", KINDS)
def test_the_keys_of_a_map_list_are_in_its_items(kind: str) -> None:
    """Server-side apply needs them in every item, or a default."""
    for path, schema in schemas(whole(kind)):
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            item = schema["items"]
            assert key in item.get("required", []) or "default" in item["properties"][key], path


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_camel_case(kind: str) -> None:
    """The wire speaks as Kubernetes does."""
    for path, schema in schemas(whole(kind)):
        for name in schema.get("properties", {}):
            assert "_" not in name, path
            assert name[0].islower(), path


@pytest.mark.parametrize("kind", ["Experiment", "ExecutionUnit"])
def test_a_fresh_object_is_in_progress(kind: str) -> None:
    """The default of status makes it differ from any generation."""
    assert whole(kind)["properties"]["status"]["default"] == {"observedGeneration": -1}


class Leaf(ApiModel):
    """A leaf."""

    model_config = with_rules(rule("has(self.someText)", "say it"))
    some_text: str | None = None


class Tree(ApiModel):
    """Everything that the generator must flatten."""

    one: Leaf
    maybe: Leaf | None = None
    many: Annotated[list[Leaf], Field(max_length=3, json_schema_extra=map_by("someText"))] = Field(
        default_factory=list
    )
    named: dict[str, Leaf] = Field(default_factory=dict)
    word: Literal["a", "b"] | None = None
    only: Literal["x"] = "x"


def test_references_are_written_out_with_their_rules() -> None:
    """`$ref`, `X | None`, lists and maps become plain schemas; nothing becomes nullable."""
    schema = crd.structural(Tree)
    leaf = {
        "type": "object",
        "description": "A leaf.",
        "x-kubernetes-validations": [{"rule": "has(self.someText)", "message": "say it"}],
        "properties": {"someText": {"type": "string"}},
    }
    assert schema["required"] == ["one"]
    assert schema["properties"] == {
        "one": leaf,
        "maybe": leaf,
        "many": {
            "type": "array",
            "items": leaf,
            "maxItems": 3,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["someText"],
        },
        "named": {"type": "object", "additionalProperties": leaf},
        "word": {"type": "string", "enum": ["a", "b"]},
        "only": {"type": "string", "default": "x", "enum": ["x"]},
    }


class Recursive(ApiModel):
    """Contains itself."""

    inner: Recursive | None = None


class Union(ApiModel):
    """Is one thing or another."""

    value: int | str


class Nested(ApiModel):
    """Has a bad part deep inside."""

    values: list[Union]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Recursive, "Recursive is recursive"),
        (Union, "cannot express the union"),
        (Nested, "cannot express the union"),
    ],
)
def test_what_no_crd_can_say_is_refused(model: type[ApiModel], message: str) -> None:
    """The generator fails instead of writing a schema that means something else."""
    with pytest.raises(ValueError, match=message):
        crd.structural(model)


def test_the_same_model_twice_is_not_recursion() -> None:
    """Only a model inside itself is."""

    class Twice(ApiModel):
        """Two leaves."""

        a: Leaf
        b: Leaf

    assert set(crd.structural(Twice)["properties"]) == {"a", "b"}
