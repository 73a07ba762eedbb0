"""Keys and certificates of a cluster, by the openssl command (elliptic curves: quick to make)."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import ClusterError
from testbed.layout import (
    HOST_ADDRESS,
    KUBERNETES_SERVICE_ADDRESS,
    LOOPBACK,
    NODE_ADDRESS,
    NODE_NAME,
)

_DAYS = "3650"
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_EMPTY_CONFIG = "[req]\ndistinguished_name=dn\n[dn]\n"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate to make: its signer, subject and alternative names."""

    name: str
    signer: str
    subject: str
    names: tuple[str, ...] = ()


_SERVER_NAMES = (
    "DNS:localhost",
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
    "DNS:kubernetes.default.svc.cluster.local",
    f"IP:{LOOPBACK}",
    f"IP:{HOST_ADDRESS}",
    f"IP:{KUBERNETES_SERVICE_ADDRESS}",
)

# etcd has an authority of its own: a certificate that the cluster signs must not open its store.
AUTHORITIES = ("ca", "etcd-ca")
CERTIFICATES = (
    Certificate("etcd", "etcd-ca", "/CN=etcd", (f"IP:{LOOPBACK}",)),
    Certificate("apiserver", "ca", "/CN=kube-apiserver", _SERVER_NAMES),
    Certificate("apiserver-kubelet", "ca", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
    Certificate("admin", "ca", "/O=system:masters/CN=admin"),
    Certificate("controller-manager", "ca", "/CN=system:kube-controller-manager"),
    Certificate("scheduler", "ca", "/CN=system:kube-scheduler"),
    Certificate("proxy", "ca", "/CN=system:kube-proxy"),
    Certificate(
        "kubelet",
        "ca",
        f"/O=system:nodes/CN=system:node:{NODE_NAME}",
        (f"IP:{NODE_ADDRESS}", f"DNS:{NODE_NAME}"),
    ),
)


def _openssl(folder: Path, *arguments: str) -> None:
    command = ["openssl", *arguments]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ClusterError(
            "the openssl command is missing; install it (Debian: apt-get install openssl)"
        ) from error
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")


def _request(folder: Path, name: str, subject: str, extra: Sequence[str]) -> None:
    files = ("-keyout", f"{name}.key", "-out", f"{name}.crt")
    _openssl(
        folder, "req", "-x509", "-config", "openssl.cnf", *_CURVE, *files,
        "-subj", subject, "-days", _DAYS, *extra,
    )  # fmt: skip


def _authority(folder: Path, name: str) -> None:
    extra = (
        "-addext", "basicConstraints=critical,CA:TRUE",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
    )  # fmt: skip
    _request(folder, name, f"/CN=runyard-testbed-{name}", extra)


def _leaf(folder: Path, wanted: Certificate) -> None:
    extra = [
        "-CA", f"{wanted.signer}.crt", "-CAkey", f"{wanted.signer}.key",
        "-addext", "basicConstraints=critical,CA:FALSE",
        "-addext", "keyUsage=critical,digitalSignature",
        "-addext", "extendedKeyUsage=serverAuth,clientAuth",
    ]  # fmt: skip
    if wanted.names:
        extra += ["-addext", f"subjectAltName={','.join(wanted.names)}"]
    _request(folder, wanted.name, wanted.subject, extra)


def _service_account_key(folder: Path) -> None:
    _openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key")
    _openssl(folder, "ec", "-in", "sa.key", "-pubout", "-out", "sa.pub")


def ensure(folder: Path) -> None:
    """Make all keys and certificates in ``folder`` unless they are there.

    The folder appears complete or not at all, so that an interruption leaves no half of it.
    Raises ClusterError when openssl is missing or fails.
    """
    if folder.is_dir():
        return
    unfinished = folder.with_name(f".{folder.name}-unfinished")
    unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
    (unfinished / "openssl.cnf").write_text(_EMPTY_CONFIG)
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda name: _authority(unfinished, name), AUTHORITIES))
        list(pool.map(lambda wanted: _leaf(unfinished, wanted), CERTIFICATES))
    _service_account_key(unfinished)
    unfinished.rename(folder)
