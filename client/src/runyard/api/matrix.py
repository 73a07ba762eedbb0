"""A matrix: one task, run once for each combination of values."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runyard.api.base import ATOMIC_LIST, ApiModel, rule, with_rules
from runyard.api.constants import MAX_MEMBERS

MAX_MATRIX_VALUE = 256
"""Characters of one value."""
ParameterName = Annotated[
    str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", min_length=1, max_length=63)
]
Value = Annotated[str, Field(max_length=MAX_MATRIX_VALUE)]
Combination = Annotated[dict[str, Value], Field(json_schema_extra={"maxProperties": 16})]


class Matrix(ApiModel):
    """All combinations of `parameters`, less those in `exclude`, and then those in `include`.

    Parameters are taken in the order of their names, the last one changing fastest. A member's
    values stand for `${matrix.NAME}`.
    """

    model_config = with_rules(
        rule(
            "(has(self.parameters) && self.parameters.size() > 0) || self.include.size() > 0",
            "set parameters, include, or both: a matrix needs at least one member",
        )
    )
    parameters: dict[
        str,
        Annotated[
            list[Value],
            Field(min_length=1, max_length=MAX_MEMBERS, json_schema_extra=ATOMIC_LIST),
        ],
    ] = Field(
        default_factory=dict,
        description="Values by the parameter's name; all are text.",
        json_schema_extra={"maxProperties": 16},
    )
    include: Annotated[list[Combination], Field(max_length=256, json_schema_extra=ATOMIC_LIST)] = (
        Field(default=[], description="Further members, each with a value for every parameter.")
    )
    exclude: Annotated[list[Combination], Field(max_length=256, json_schema_extra=ATOMIC_LIST)] = (
        Field(default=[], description="Members that have all these values are left out.")
    )
    max_parallel: int | None = Field(
        default=None, ge=1, description="Members that may be on their way at the same time."
    )
