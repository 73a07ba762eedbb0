"""The base of every API model, and the field types that shape the CRD schemas."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

DNS_LABEL = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""RFC 1035: names become Service and pod names, which must begin with a letter."""


class ApiModel(BaseModel):
    """A frozen model whose wire form is camelCase and which refuses unknown fields."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form as the API server stores it: camelCase, without unset optional fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def rule(expression: str, message: str) -> dict[str, str]:
    """One CEL rule of `x-kubernetes-validations`."""
    return {"rule": expression, "message": message}


def same(field: str) -> str:
    """CEL: the optional field has not changed.

    CEL's own `self.?field == oldSelf.?field` is shorter, and far over the CRD's cost budget.
    """
    return (
        f"has(self.{field}) == has(oldSelf.{field}) && "
        f"(!has(self.{field}) || self.{field} == oldSelf.{field})"
    )


def with_rules(*rules: dict[str, str]) -> ConfigDict:
    """Model configuration that carries CEL rules into the CRD schema."""
    extension: dict[str, Any] = {"x-kubernetes-validations": list(rules)}
    return ConfigDict(json_schema_extra=extension)


def map_by(*keys: str) -> dict[str, Any]:
    """Schema extension of a list that server-side apply merges by `keys`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


SET_LIST: dict[str, Any] = {"x-kubernetes-list-type": "set"}
ATOMIC_LIST: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
INT64: dict[str, Any] = {"format": "int64"}
FreeForm = Annotated[
    dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
]
"""An object of Kubernetes' own, as its API reference has it; the API server checks it when the
child is made, and `mode: Plan` beforehand."""
DIGEST = r"^sha256:[0-9a-f]{64}$"
Digest = Annotated[str, Field(pattern=DIGEST, max_length=71)]
"""`sha256:` and 64 hexadecimal digits."""

Name = Annotated[str, Field(pattern=DNS_LABEL, min_length=1, max_length=63)]
"""A DNS label that begins with a letter, at most 63 characters."""
ObjectName = Annotated[str, Field(min_length=1, max_length=253)]
"""The name of a Kubernetes object."""
Text = Annotated[str, Field(max_length=4096)]
Quantity = Annotated[
    str,
    Field(
        pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$",
        max_length=32,
        description="A Kubernetes quantity, for example 500m, 2, 512Mi or 16Gi.",
    ),
]


class Condition(ApiModel):
    """A Kubernetes API condition; the list of them is a map by `type`."""

    type: str = Field(min_length=1, max_length=316)
    status: Literal["True", "False", "Unknown"]
    observed_generation: int = Field(default=0, json_schema_extra=INT64)
    last_transition_time: datetime
    reason: str = Field(min_length=1, max_length=1024)
    message: str = Field(default="", max_length=4096)


Conditions = Annotated[list[Condition], Field(max_length=32, json_schema_extra=map_by("type"))]
