"""A real S3 server that keeps its objects in a folder."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed.artefacts import Artefacts
from testbed.build.catalogue import S3_SERVER
from testbed.layout import HOST_ADDRESS
from testbed.waiting import until

REACHED_BY_PODS = HOST_ADDRESS
"""Where pods of the testbed reach a server of this machine; only while a node runs."""


@dataclass(frozen=True, slots=True)
class S3:
    """A server that runs.

    Attributes:
        endpoint: its URL; buckets are the first part of the path.
        buckets: its folder: a folder in it is a bucket, the files below are its objects.
    """

    endpoint: str
    access_key: str
    secret_key: str
    region: str
    buckets: Path
    log: Path


@contextlib.contextmanager
def s3_server(folder: Path, *buckets: str, host: str = "127.0.0.1") -> Iterator[S3]:
    """Serve the empty `folder` on a free port of `host` for the block; `buckets` are there at once.

    It asks for signatures (version 4) and refuses what is not signed. The first call builds it,
    which takes minutes.
    """
    with Artefacts([S3_SERVER]) as built:
        binary = built.path(S3_SERVER)
    data, facts = folder / "data", folder / "facts"
    for each in (data, facts, *(data / bucket for bucket in buckets)):
        each.mkdir(parents=True)
    port = _free_port(host)
    server = S3(
        f"http://{host}:{port}", "runyard-test", "runyard-secret", "us-east-1", data,
        folder / "server.log",
    )  # fmt: skip
    command = [
        str(binary), "--port", f"{host}:{port}", "--region", server.region,
        "--access", server.access_key, "--secret", server.secret_key,
        "posix", "--sidecar", str(facts), str(data),
    ]  # fmt: skip
    with server.log.open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until(
                lambda: process.poll() is not None or _listens(host, port),
                60.0,
                lambda: f"the S3 server does not listen; see {server.log}",
                pause=0.05,
            )
            assert process.poll() is None, server.log.read_text()
            yield server
        finally:
            process.terminate()


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0
