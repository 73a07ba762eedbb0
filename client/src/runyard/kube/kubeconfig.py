"""Reads kubeconfig files as kubectl does: $KUBECONFIG with several files, contexts, in-cluster."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from runyard.kube.errors import ConfigError

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class User:
    """How to authenticate. Certificates and keys are PEM."""

    token: str | None = None
    token_file: Path | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    username: str | None = None
    password: str | None = None
    exec: Mapping[str, Any] | None = None
    impersonate: str | None = None
    impersonate_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """One cluster, the user on it, and the namespace that commands mean."""

    server: str
    namespace: str
    source: str
    """For messages: where this came from, for example "context dev of /home/ann/.kube/config"."""
    authority: bytes | None = None
    insecure: bool = False
    tls_server_name: str | None = None
    proxy: str | None = None
    user: User = field(default_factory=User)
    cluster: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A named entry and the folder that its relative paths start from."""

    value: Mapping[str, Any]
    folder: Path

    def data(self, key: str) -> bytes | None:
        """The bytes of `<key>-data` (base64), else of the file that `<key>` names."""
        inline = self.value.get(f"{key}-data")
        if inline:
            try:
                return base64.b64decode(inline, validate=True)
            except (binascii.Error, ValueError) as error:
                raise ConfigError(f"{key}-data in the kubeconfig is not base64: {error}") from error
        path = self.value.get(key)
        if not path:
            return None
        try:
            return (self.folder / str(path)).read_bytes()
        except OSError as error:
            raise ConfigError(f"{key} of the kubeconfig cannot be read: {error}") from error


@dataclass(slots=True)
class _Merged:
    files: list[Path]
    current: str = ""
    contexts: dict[str, _Entry] = field(default_factory=dict)
    clusters: dict[str, _Entry] = field(default_factory=dict)
    users: dict[str, _Entry] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return ":".join(str(each) for each in self.files)


def load(
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    environ: Mapping[str, str],
    service_account: Path = SERVICE_ACCOUNT,
) -> Access:
    """The access that the options and the environment name, by kubectl's rules.

    Raises:
        ConfigError: no cluster is configured, or an entry is missing or broken.
    """
    merged = _merge(_paths(kubeconfig, environ), required=kubeconfig is not None)
    if not merged.files or not (merged.contexts or merged.clusters):
        inside = None if context or kubeconfig else _in_cluster(namespace, environ, service_account)
        if inside is not None:
            return inside
        raise ConfigError(
            "no cluster is configured: there is no kubeconfig at"
            f" {merged.place or ':'.join(map(str, _paths(kubeconfig, environ)))}; set KUBECONFIG or"
            " give --kubeconfig"
        )
    return _from(merged, context or merged.current, namespace)


def _paths(kubeconfig: str | None, environ: Mapping[str, str]) -> list[Path]:
    if kubeconfig:
        return [Path(kubeconfig)]
    listed = [each for each in environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    if listed:
        return [Path(each) for each in listed]
    return [Path(environ.get("HOME") or Path.home()) / ".kube" / "config"]


def _merge(paths: list[Path], *, required: bool) -> _Merged:
    """All files as one; of entries with the same name, the first counts."""
    merged = _Merged([])
    for path in paths:
        try:
            document = _parse(path.read_text(encoding="utf-8"), path)
        except FileNotFoundError:
            if required:
                raise ConfigError(
                    f"the kubeconfig {path} does not exist: correct --kubeconfig"
                ) from None
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the kubeconfig {path} cannot be read: {error}") from error
        merged.files.append(path)
        merged.current = merged.current or document.get("current-context") or ""
        for plural, key in (("contexts", "context"), ("clusters", "cluster"), ("users", "user")):
            known = getattr(merged, plural)
            for named in document.get(plural) or []:
                known.setdefault(named["name"], _Entry(named.get(key) or {}, path.parent))
    return merged


def _parse(text: str, path: Path) -> dict[str, Any]:
    if text.lstrip().startswith("{"):  # JSON is much faster to read than YAML
        try:
            return dict(json.loads(text))
        except ValueError:
            pass  # YAML's flow style begins with a brace too
    import yaml

    try:
        document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError as error:
        raise ConfigError(f"the kubeconfig {path} is not YAML: {error}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"the kubeconfig {path} is not a kubeconfig: it holds no mapping")
    return document


def _from(merged: _Merged, context: str, namespace: str | None) -> Access:
    if not context:
        raise ConfigError(
            f"the kubeconfig {merged.place} has no current-context: give --context"
            f" ({_listed(merged.contexts)})"
        )
    chosen = _entry(merged, "contexts", context, "context")
    cluster = _entry(merged, "clusters", chosen.value.get("cluster") or "", "cluster")
    server = cluster.value.get("server")
    if not server:
        raise ConfigError(f"the cluster of context {context!r} has no server in {merged.place}")
    name = chosen.value.get("user") or ""
    user = _entry(merged, "users", name, "user") if name else _Entry({}, Path())
    return Access(
        server=server.rstrip("/"),
        namespace=namespace or chosen.value.get("namespace") or "default",
        source=f"context {context} of {merged.place}",
        authority=cluster.data("certificate-authority"),
        insecure=bool(cluster.value.get("insecure-skip-tls-verify")),
        tls_server_name=cluster.value.get("tls-server-name"),
        proxy=cluster.value.get("proxy-url"),
        user=_user(user, name),
        cluster=cluster.value,
    )


def _user(entry: _Entry, name: str) -> User:
    value = entry.value
    if value.get("auth-provider"):
        raise ConfigError(
            f"user {name!r} has an auth-provider, which Kubernetes dropped in 1.26: use an exec"
            " plugin in the kubeconfig"
        )
    token_file = value.get("tokenFile")
    return User(
        token=value.get("token"),
        token_file=entry.folder / token_file if token_file else None,
        certificate=entry.data("client-certificate"),
        key=entry.data("client-key"),
        username=value.get("username"),
        password=value.get("password"),
        exec=value.get("exec"),
        impersonate=value.get("as"),
        impersonate_groups=tuple(value.get("as-groups") or ()),
    )


def _entry(merged: _Merged, plural: str, name: str, word: str) -> _Entry:
    known: dict[str, _Entry] = getattr(merged, plural)
    if name not in known:
        raise ConfigError(f"no {word} {name!r} in {merged.place} ({_listed(known)})")
    return known[name]


def _listed(known: Mapping[str, _Entry]) -> str:
    return f"there are: {', '.join(sorted(known))}" if known else "there are none"


def _in_cluster(namespace: str | None, environ: Mapping[str, str], folder: Path) -> Access | None:
    """The pod's own service account; None outside a pod."""
    host = environ.get("KUBERNETES_SERVICE_HOST")
    port = environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port or not (folder / "token").exists():
        return None
    where = f"[{host}]" if ":" in host else host
    own = folder / "namespace"
    return Access(
        server=f"https://{where}:{port}",
        namespace=namespace or (own.read_text().strip() if own.exists() else "default"),
        source="the pod's service account",
        authority=(folder / "ca.crt").read_bytes(),
        user=User(token_file=folder / "token"),
    )
