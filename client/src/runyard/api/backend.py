"""Backend: a place outside the cluster. Cluster-scoped; administrators write it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runyard.api.base import SET_LIST, ApiModel, Name


class BackendSpec(ApiModel):
    """Who may use the place. The executors of this release run in the cluster and need none."""

    allowed_namespaces: Annotated[
        list[Name],
        Field(
            max_length=256,
            description="Namespaces whose tasks may use the backend; none when empty.",
            json_schema_extra=SET_LIST,
        ),
    ] = []
