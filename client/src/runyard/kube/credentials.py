"""Turns a kubeconfig user into request headers and client certificates, exec plugins included."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from runyard.kube.errors import ConfigError
from runyard.kube.kubeconfig import Access

Header = tuple[str, str]

_EXEC_VERSIONS: Final = (
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
)
_PLUGIN_SECONDS: Final = 120
_CONFIG_KEYS: Final = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request carries. Certificate and key are PEM, both or none."""

    headers: list[Header]
    certificate: bytes | None = None
    key: bytes | None = None
    expires: datetime | None = None

    @property
    def expired(self) -> bool:
        """Whether new credentials should be asked for, a little before the end."""
        return self.expires is not None and datetime.now(UTC) > self.expires - timedelta(seconds=10)


def resolve(access: Access) -> Credentials:
    """The credentials of the user now: token files are read again, exec plugins run.

    Raises:
        ConfigError: the token file cannot be read or the plugin fails.
    """
    user = access.user
    headers = _impersonation(access)
    if user.token_file is not None:
        try:
            token = user.token_file.read_text().strip()
        except OSError as error:
            raise ConfigError(f"tokenFile of the kubeconfig cannot be read: {error}") from error
        return Credentials([*headers, ("Authorization", f"Bearer {token}")])
    if user.token:
        headers.append(("Authorization", f"Bearer {user.token}"))
    elif user.username and user.password is not None:
        pair = base64.b64encode(f"{user.username}:{user.password}".encode()).decode()
        headers.append(("Authorization", f"Basic {pair}"))
    elif user.exec is not None and user.certificate is None:
        return _from_plugin(access, dict(user.exec), headers)
    return Credentials(headers, user.certificate, user.key)


def _impersonation(access: Access) -> list[Header]:
    user = access.user
    name = [("Impersonate-User", user.impersonate)] if user.impersonate else []
    return name + [("Impersonate-Group", each) for each in user.impersonate_groups]


def _from_plugin(access: Access, plugin: dict[str, Any], headers: list[Header]) -> Credentials:
    version = plugin.get("apiVersion") or ""
    if version not in _EXEC_VERSIONS:
        raise ConfigError(
            f"the exec plugin's apiVersion {version!r} is not known: use {_EXEC_VERSIONS[0]}"
        )
    status = _run_plugin(access, plugin, version).get("status") or {}
    certificate = status.get("clientCertificateData")
    key = status.get("clientKeyData")
    token = status.get("token")
    if not token and not (certificate and key):
        raise ConfigError(f"the exec plugin {plugin['command']!r} gave neither token nor key pair")
    if token:
        headers = [*headers, ("Authorization", f"Bearer {token}")]
    expires = status.get("expirationTimestamp")
    return Credentials(
        headers,
        certificate.encode() if certificate else None,
        key.encode() if key else None,
        datetime.fromisoformat(expires) if expires else None,
    )


def _run_plugin(access: Access, plugin: dict[str, Any], version: str) -> dict[str, Any]:
    command = plugin.get("command") or ""
    mode = plugin.get("interactiveMode") or "IfAvailable"
    interactive = mode != "Never" and sys.stdin is not None and sys.stdin.isatty()
    if mode == "Always" and not interactive:
        raise ConfigError(f"the exec plugin {command!r} wants a terminal: run this on one")
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = _cluster_info(access)
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
    extra = {each["name"]: each["value"] for each in plugin.get("env") or []}
    try:
        done = subprocess.run(
            [command, *(plugin.get("args") or [])],
            env={**os.environ, **extra, "KUBERNETES_EXEC_INFO": json.dumps(info)},
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=None if interactive else _PLUGIN_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        hint = plugin.get("installHint")
        raise ConfigError(
            f"the exec plugin {command!r} of the kubeconfig is not installed"
            + (f": {hint.strip()}" if hint else "")
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"the exec plugin {command!r} failed: {error}") from error
    if done.returncode != 0:
        raise ConfigError(f"the exec plugin {command!r} ended with exit code {done.returncode}")
    try:
        return dict(json.loads(done.stdout))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"the exec plugin {command!r} did not print an ExecCredential") from error


def _cluster_info(access: Access) -> dict[str, Any]:
    info = {key: access.cluster[key] for key in _CONFIG_KEYS if key in access.cluster}
    if access.authority is not None:
        info["certificate-authority-data"] = base64.b64encode(access.authority).decode()
    extensions = {
        each.get("name"): each.get("extension") for each in access.cluster.get("extensions") or []
    }
    if "client.authentication.k8s.io/exec" in extensions:
        info["config"] = extensions["client.authentication.k8s.io/exec"]
    return info
