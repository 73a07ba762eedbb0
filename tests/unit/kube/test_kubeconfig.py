"""Kubeconfig files, read as kubectl reads them."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from runyard.kube.errors import ConfigError
from runyard.kube.kubeconfig import load


def config(name: str, *, current: bool = True, **user: Any) -> dict[str, Any]:
    """A kubeconfig with one cluster, user and context, all of that name."""
    document: dict[str, Any] = {
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example:6443/"}}],
        "users": [{"name": name, "user": user}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}
        ],
    }
    return {**document, "current-context": name} if current else document


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_the_current_context_gives_server_and_namespace(tmp_path: Path) -> None:
    """Without options, the file says everything."""
    path = write(tmp_path / "config", config("dev", token="t"))
    access = load(None, None, None, {"KUBECONFIG": str(path)})
    assert (access.server, access.namespace) == ("https://dev.example:6443", "ns-dev")
    assert access.user.token == "t"
    assert access.source == f"context dev of {path}"


def test_options_win_over_the_file(tmp_path: Path) -> None:
    """--namespace, --context and --kubeconfig come first."""
    one = write(tmp_path / "one", config("one"))
    other = config("other")
    other["contexts"] += [{"name": "x", "context": {"cluster": "other", "user": "other"}}]
    two = write(tmp_path / "two", other)
    access = load(str(two), "x", "mine", {"KUBECONFIG": str(one)})
    assert (access.server, access.namespace) == ("https://other.example:6443", "mine")


def test_several_files_are_one_and_the_first_wins(tmp_path: Path) -> None:
    """$KUBECONFIG may list files; missing ones are passed over."""
    first = write(tmp_path / "a" / "config", config("shared", token="first"))
    second = write(tmp_path / "b" / "config", config("shared", token="second"))
    third = write(tmp_path / "c" / "config", config("extra", current=False, token="third"))
    listed = os.pathsep.join([str(tmp_path / "missing"), str(first), str(second), str(third)])
    environ = {"KUBECONFIG": listed}
    assert load(None, None, None, environ).user.token == "first"
    assert load(None, "extra", None, environ).user.token == "third"


def test_paths_start_from_the_file_that_names_them(tmp_path: Path) -> None:
    """Relative certificate, key and token paths are found beside their kubeconfig."""
    folder = tmp_path / "conf"
    document = config("dev", **{"client-certificate": "c.pem", "tokenFile": "token"})
    document["users"][0]["user"]["client-key-data"] = base64.b64encode(b"key").decode()
    document["clusters"][0]["cluster"]["certificate-authority"] = "pki/ca.pem"
    path = write(folder / "config", document)
    (folder / "pki").mkdir()
    (folder / "pki" / "ca.pem").write_bytes(b"authority")
    (folder / "c.pem").write_bytes(b"certificate")
    access = load(str(path), None, None, {})
    assert (access.authority, access.user.certificate) == (b"authority", b"certificate")
    assert (access.user.key, access.user.token_file) == (b"key", folder / "token")


def test_the_home_folder_is_the_default(tmp_path: Path) -> None:
    """Without $KUBECONFIG, ~/.kube/config is read."""
    write(tmp_path / ".kube" / "config", config("home"))
    assert load(None, None, None, {"HOME": str(tmp_path)}).namespace == "ns-home"


def test_a_pod_uses_its_service_account(tmp_path: Path) -> None:
    """Without a kubeconfig, a pod talks to its own cluster."""
    for name, content in (("token", "t"), ("ca.crt", "authority"), ("namespace", "team\n")):
        (tmp_path / name).write_text(content)
    environ = {
        "HOME": str(tmp_path),
        "KUBERNETES_SERVICE_HOST": "fd00::1",
        "KUBERNETES_SERVICE_PORT": "443",
    }
    access = load(None, None, None, environ, service_account=tmp_path)
    assert (access.server, access.namespace) == ("https://[fd00::1]:443", "team")
    assert access.user.token_file == tmp_path / "token"


BROKEN: dict[str, tuple[Any, str | None, str]] = {
    "no file": (None, None, "does not exist: correct --kubeconfig"),
    "not YAML": ("a: [", None, "is not YAML"),
    "not a mapping": ("[1]", None, "holds no mapping"),
    "empty": ("", None, "no cluster is configured"),
    "no current context": (config("dev", current=False), None, "give --context"),
    "unknown context": (config("dev"), "prod", "no context 'prod' in .* (there are: dev)"),
    "no such cluster": (
        {
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "gone"}}],
            "clusters": [],
        },
        None,
        "no cluster 'gone'",
    ),
    "not base64": (config("dev", **{"client-key-data": "%"}), None, "is not base64"),
    "a missing certificate": (config("dev", **{"client-key": "nope"}), None, "cannot be read"),
    "an auth provider": (config("dev", **{"auth-provider": {"name": "gcp"}}), None, "exec plugin"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_kubeconfig_is_explained(case: str, tmp_path: Path) -> None:
    """Every mistake is named, with what to do."""
    document, context, said = BROKEN[case]
    path = tmp_path / "config"
    if isinstance(document, str):
        path.write_text(document)
    elif document is not None:
        write(path, document)
    with pytest.raises(ConfigError, match=said.replace("(", r"\(").replace(")", r"\)")):
        load(str(path), context, None, {})
