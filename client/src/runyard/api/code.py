"""The code that a task runs: files that reach every pod at /nemo_run/code."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runyard.api.base import ApiModel, map_by, rule, with_rules
from runyard.api.pod import ConfigMapSource, RelativePath


class InlineFile(ApiModel):
    """One text file, written in the resource itself."""

    path: RelativePath
    content: str = Field(max_length=524288)


class CodeConfigMap(ConfigMapSource):
    """A ConfigMap of the namespace; `items` put keys at paths with sub-folders."""

    digest: str | None = Field(
        default=None,
        pattern=r"^sha256:[0-9a-f]{64}$",
        max_length=71,
        description="When set, the pod refuses to start on files with another digest.",
    )


class Code(ApiModel):
    """Where the code comes from; exactly one source."""

    model_config = with_rules(
        rule(
            "has(self.inline) != has(self.configMap)",
            "set exactly one code source: inline or configMap",
        )
    )
    inline: (
        Annotated[
            list[InlineFile],
            Field(min_length=1, max_length=128, json_schema_extra=map_by("path")),
        ]
        | None
    ) = None
    config_map: CodeConfigMap | None = None
