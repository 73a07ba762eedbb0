"""The code that a task runs: files that reach every pod at /nemo_run/code."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runyard.api.base import ApiModel, Digest, ObjectName, map_by, rule, with_rules
from runyard.api.constants import MAX_BUNDLE_BYTES
from runyard.api.pod import ConfigMapSource, RelativePath

COMMIT = r"^[0-9a-f]{40}([0-9a-f]{24})?$"


class InlineFile(ApiModel):
    """One text file, written in the resource itself."""

    path: RelativePath
    content: str = Field(max_length=524288)


class CodeConfigMap(ConfigMapSource):
    """A ConfigMap of the namespace; `items` put keys at paths with sub-folders."""

    digest: Digest | None = Field(
        default=None,
        description="When set, the pod refuses to start on files with another digest.",
    )


class CodeBundle(ApiModel):
    """An archive that was pushed before, named by its content: see `runyard code push`."""

    digest: Digest = Field(description="sha256 of the uncompressed tar.")
    size: int = Field(
        ge=1,
        le=MAX_BUNDLE_BYTES,
        description="Bytes of the compressed archive; small ones lie in ConfigMaps, others in the"
        " code store.",
    )


class SecretName(ApiModel):
    """A Secret in the experiment's namespace."""

    name: ObjectName


class CodeGit(ApiModel):
    """A commit of a git repository, fetched by each pod."""

    url: str = Field(
        pattern=r"^(https?://|ssh://|[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:)[^\s]+$",
        max_length=1024,
        description="https, http or ssh; `git@host:path` as well. Credentials belong in `secret`.",
    )
    ref: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./+@-]*$",
        max_length=253,
        description="Branch, tag or full commit; HEAD when unset. It is resolved once, when the"
        " experiment starts, and the commit is written to its status.",
    )
    commit: str | None = Field(
        default=None,
        pattern=COMMIT,
        max_length=64,
        description="The commit itself; `ref` is then only where to look for it.",
    )
    subpath: RelativePath | None = Field(
        default=None, description="The folder of the repository that becomes the code folder."
    )
    submodules: bool = False
    secret: SecretName | None = Field(
        default=None,
        description="Keys as Kubernetes has them: ssh-privatekey with known_hosts, or username and"
        " password, where a token goes as the password; ca.crt for an authority of your own.",
    )


class CodePvc(ApiModel):
    """A folder of a PersistentVolumeClaim, mounted as the code folder."""

    claim_name: ObjectName
    sub_path: RelativePath | None = None
    read_only: bool = True
    digest: Digest | None = Field(
        default=None,
        description="When set, the pod refuses to start on files with another digest.",
    )


class CodeUri(ApiModel):
    """An archive at an address: .tar, .tar.gz, .tgz or .zip."""

    url: str = Field(pattern=r"^(https?|s3)://[^\s]+$", max_length=2048)
    digest: Digest = Field(description="sha256 of the file as it is downloaded.")
    secret: SecretName | None = Field(
        default=None,
        description="Keys username and password, or token, for a web server; AWS_ACCESS_KEY_ID and"
        " AWS_SECRET_ACCESS_KEY for s3.",
    )


class Code(ApiModel):
    """Where the code comes from; exactly one source."""

    model_config = with_rules(
        rule(
            "[has(self.inline),has(self.configMap),has(self.bundle),has(self.git),has(self.pvc),"
            "has(self.uri)].filter(x, x).size() == 1",
            "set exactly one code source: inline, configMap, bundle, git, pvc or uri",
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
    bundle: CodeBundle | None = None
    git: CodeGit | None = None
    pvc: CodePvc | None = None
    uri: CodeUri | None = None
