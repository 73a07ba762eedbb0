"""Code from a bucket of a real S3 server, as the init container fetches it."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runyard_operator.unpack.download import unpack_uri
from runyard_operator.unpack.limits import Limits
from runyard_operator.unpack.problems import UnpackError, Unreachable
from runyard_operator.unpack.secret import Secret
from tests.support.s3 import S3, s3_server
from tests.unit.unpack.archives import digest, entry, tar

pytestmark = pytest.mark.integration

ARCHIVE = gzip.compress(tar([entry("a.py", os.urandom(30_000_000))]), mtime=0)
URL = "s3://code/team a/größe.tgz"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server with an archive in its bucket."""
    with s3_server(tmp_path_factory.mktemp("s3"), "code") as running:
        place = running.buckets / "code/team a/größe.tgz"
        place.parent.mkdir()
        place.write_bytes(ARCHIVE)
        yield running


def secret(folder: Path, server: S3, **changes: str) -> Secret:
    """The keys as a mounted Secret."""
    keys = {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_REGION": server.region,
        "AWS_ENDPOINT_URL": server.endpoint,
        **changes,
    }
    place = folder / "secret"
    place.mkdir(exist_ok=True)
    for name, value in keys.items():
        (place / name).write_text(f"{value}\n")
    return Secret(str(place))


def test_an_object_is_fetched_checked_and_unpacked(tmp_path: Path, server: S3) -> None:
    """Signed, whatever its name is; and another digest is refused."""
    known = secret(tmp_path, server)
    assert unpack_uri(URL, str(tmp_path / "code"), digest(ARCHIVE), known) == 1
    assert (tmp_path / "code/a.py").stat().st_size == 30_000_000
    with pytest.raises(UnpackError, match=r"and code\.uri\.digest is"):
        unpack_uri(URL, str(tmp_path / "other"), digest(b""), known)


@pytest.mark.parametrize(
    ("url", "changes", "kind", "said"),
    [
        ("s3://code/none", {}, UnpackError, "no such object"),
        ("s3://none/none", {}, UnpackError, "no such object, or no such bucket"),
        ("s3://code", {}, UnpackError, "s3://BUCKET/KEY"),
        (URL, {"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, UnpackError, "InvalidAccess|Signature"),
        (URL, {"AWS_ACCESS_KEY_ID": ""}, UnpackError, "needs AWS_ACCESS_KEY_ID and"),
        (URL, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, Unreachable, "127.0.0.1:9"),
    ],
)
def test_refusals(
    tmp_path: Path,
    server: S3,
    url: str,
    changes: dict[str, str],
    kind: type[UnpackError],
    said: str,
) -> None:
    """Each with a message of its own, and without the secret key."""
    known = secret(tmp_path, server, **changes)
    with pytest.raises(kind, match=said) as refused:
        unpack_uri(url, str(tmp_path / "code"), digest(ARCHIVE), known)
    assert "wrong-secret" not in str(refused.value)
    assert server.secret_key not in str(refused.value)


def test_an_object_that_is_too_large(tmp_path: Path, server: S3) -> None:
    """The download stops at the limit."""
    known, limits = secret(tmp_path, server), Limits(archive=1_000_000)
    with pytest.raises(UnpackError, match="larger than 1000000 bytes"):
        unpack_uri(URL, str(tmp_path / "code"), digest(ARCHIVE), known, limits)


def test_it_needs_little_memory(tmp_path: Path, server: S3) -> None:
    """The init container has 128 MiB; the client is loaded for such addresses alone."""
    secret(tmp_path, server)
    program = (
        "import sys\n"
        "from runyard_operator.unpack.download import unpack_uri\n"
        "from runyard_operator.unpack.secret import Secret\n"
        "assert 'obstore' not in sys.modules\n"
        "unpack_uri(sys.argv[1], sys.argv[2], sys.argv[3], Secret(sys.argv[4]))\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
    )
    words = [URL, str(tmp_path / "code"), digest(ARCHIVE), str(tmp_path / "secret")]
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 96 * 1024
