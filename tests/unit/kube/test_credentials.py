"""Credentials: tokens, passwords, impersonation and real exec plugins."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from runyard.kube.credentials import resolve
from runyard.kube.errors import ConfigError
from runyard.kube.kubeconfig import Access, User


def access(**user: Any) -> Access:
    return Access("https://dev.example", "default", "context dev", user=User(**user))


def plugin(tmp_path: Path, body: str, **more: Any) -> dict[str, Any]:
    """An exec plugin that is a real program."""
    program = tmp_path / "plugin"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    version = "client.authentication.k8s.io/v1"
    return {"apiVersion": version, "command": str(program), "interactiveMode": "Never", **more}


def answer(**status: Any) -> str:
    return "echo '" + json.dumps({"kind": "ExecCredential", "status": status}) + "'"


def test_tokens_and_passwords_become_headers(tmp_path: Path) -> None:
    """A token file is read each time, since it may have been renewed."""
    assert ("Authorization", "Bearer t") in resolve(access(token="t")).headers
    pair = base64.b64encode(b"ann:pw").decode()
    assert ("Authorization", f"Basic {pair}") in resolve(
        access(username="ann", password="pw")
    ).headers
    file = tmp_path / "token"
    for content in ("old\n", "new\n"):
        file.write_text(content)
        headers = resolve(access(token_file=file)).headers
        assert headers == [("Authorization", f"Bearer {content.strip()}")]


def test_impersonation_names_user_and_every_group() -> None:
    """Each group has a header of its own."""
    headers = resolve(access(impersonate="ann", impersonate_groups=("a", "b"))).headers
    assert headers == [
        ("Impersonate-User", "ann"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
    ]


def test_an_exec_plugin_gives_a_token(tmp_path: Path) -> None:
    """Arguments and environment reach the plugin; its token and its end are taken over."""
    body = '[ "$1" = login ] && [ "$WHERE" = here ] || exit 9\n' + answer(
        token="fresh", expirationTimestamp="2020-01-01T00:00:00Z"
    )
    spec = plugin(tmp_path, body, args=["login"], env=[{"name": "WHERE", "value": "here"}])
    found = resolve(access(exec=spec))
    assert found.headers == [("Authorization", "Bearer fresh")]
    assert found.expired


def test_an_exec_plugin_gives_a_key_pair(tmp_path: Path) -> None:
    """Client certificates from a plugin are used for TLS."""
    body = answer(clientCertificateData="CERT", clientKeyData="KEY")
    found = resolve(access(exec=plugin(tmp_path, body)))
    assert (found.certificate, found.key, found.expired) == (b"CERT", b"KEY", False)


def test_an_exec_plugin_learns_about_the_cluster(tmp_path: Path) -> None:
    """With provideClusterInfo the server and its authority are in KUBERNETES_EXEC_INFO."""
    seen = tmp_path / "seen"
    spec = plugin(
        tmp_path,
        f'echo "$KUBERNETES_EXEC_INFO" > {seen}\n' + answer(token="t"),
        provideClusterInfo=True,
    )
    where = Access(
        "https://dev.example",
        "default",
        "context dev",
        authority=b"ca",
        user=User(exec=spec),
        cluster={"server": "https://dev.example"},
    )
    resolve(where)
    info = json.loads(seen.read_text())
    assert info["kind"] == "ExecCredential"
    assert info["spec"]["interactive"] is False
    assert info["spec"]["cluster"]["server"] == "https://dev.example"
    assert base64.b64decode(info["spec"]["cluster"]["certificate-authority-data"]) == b"ca"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exit 3", "ended with exit code 3"),
        ("echo hello", "did not print an ExecCredential"),
        (answer(), "neither token nor key pair"),
    ],
)
def test_a_failing_exec_plugin_is_explained(body: str, said: str, tmp_path: Path) -> None:
    """What the plugin did wrong is said."""
    with pytest.raises(ConfigError, match=said):
        resolve(access(exec=plugin(tmp_path, body)))


def test_a_missing_exec_plugin_shows_its_install_hint() -> None:
    """The kubeconfig's own hint tells how to get the plugin."""
    spec = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "no-such-login-program",
        "installHint": "get it from the administrators",
    }
    with pytest.raises(ConfigError, match="is not installed: get it from the administrators"):
        resolve(access(exec=spec))


def test_an_old_exec_plugin_is_refused() -> None:
    """A version that Kubernetes no longer has is named."""
    spec = {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "true"}
    with pytest.raises(ConfigError, match="v1alpha1' is not known"):
        resolve(access(exec=spec))
