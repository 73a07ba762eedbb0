"""Python packages that a task needs beside its image, and the artifacts that it leaves."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runyard.api.base import ATOMIC_LIST, ApiModel, ObjectName, map_by, rule, with_rules
from runyard.api.pod import KeySelector, Path

IndexUrl = Annotated[str, Field(pattern=r"^https?://[^\s@]+$", max_length=1024)]


class PackageCache(ApiModel):
    """Where installed sets of packages are kept for the next task with the same ones."""

    claim_name: ObjectName = Field(
        description="A PersistentVolumeClaim of the namespace that all nodes can write to."
    )


class Packages(ApiModel):
    """Python requirements, installed into the task's own environment before it starts.

    The image's own `python3` decides which files fit; the packages lie before its own ones on the
    path, behind the code.
    """

    requirements: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^-\s][^\n\r]*$")]],
        Field(min_length=1, max_length=256, json_schema_extra=ATOMIC_LIST),
    ] = Field(description="As in a requirements file, one each, without options.")
    index_url: IndexUrl | None = Field(
        default=None, description="The operator's index when unset. Credentials: `indexSecret`."
    )
    extra_index_urls: Annotated[
        list[IndexUrl], Field(max_length=8, json_schema_extra=ATOMIC_LIST)
    ] = []
    index_secret: KeySelector | None = Field(
        default=None, description="A Secret's key that holds the whole index URL, with credentials."
    )
    cache: PackageCache | None = None


class Artifact(ApiModel):
    """A result that is too large for an output: it stays where it is, and is listed in the status.

    Of a file or folder, size and digest are taken when the task has succeeded. Of a URI the task
    may tell them: it writes `SIZE sha256:DIGEST` to the file $RUNYARD_ARTIFACTS/<name>.
    """

    model_config = with_rules(
        rule("has(self.path) != has(self.uri)", "set either path or uri of an artifact")
    )
    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", min_length=1, max_length=63)
    path: Path | None = Field(
        default=None, description="A file or folder on a volume that outlives the pod."
    )
    uri: str | None = Field(
        default=None, pattern=r"^[A-Za-z][A-Za-z0-9+.-]*://[^\s]+$", max_length=1024
    )


Artifacts = Annotated[list[Artifact], Field(max_length=16, json_schema_extra=map_by("name"))]
