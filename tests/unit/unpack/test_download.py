"""Archives from a real web server on loopback."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path

import pytest

from runyard_operator.unpack import download
from runyard_operator.unpack.limits import Limits
from runyard_operator.unpack.problems import UnpackError, Unreachable
from runyard_operator.unpack.secret import Secret
from tests.support.httpserver import Answer, Request, serving
from tests.support.tls import self_signed
from tests.unit.unpack.archives import digest, entry, tar

PLAIN = tar([entry("a.py", b"print(1)\n" * 1000)])
PACKED = gzip.compress(PLAIN, mtime=0)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0))


def secret(folder: Path, **keys: str) -> Secret:
    place = folder / "secret"
    place.mkdir()
    for name, value in keys.items():
        (place / name).write_text(value)
    return Secret(str(place))


def test_an_archive_is_checked_and_unpacked(tmp_path: Path) -> None:
    """The digest is that of the file; anything else leaves the folder empty."""
    with serving(lambda _: Answer(PACKED)) as server:
        code = tmp_path / "code"
        url = f"{server.url}/a.tgz?signature=secret"
        assert download.unpack_uri(url, str(code), digest(PACKED), Secret(None)) == 1
        assert (code / "a.py").read_bytes() == b"print(1)\n" * 1000
        other = tmp_path / "other"
        with pytest.raises(UnpackError, match=f"has the digest {digest(PACKED)}, and") as refused:
            download.unpack_uri(url, str(other), digest(PLAIN), Secret(None))
        assert not other.exists()
        assert "signature" not in str(refused.value)


@pytest.mark.parametrize(
    ("keys", "header"),
    [
        ({"token": "abc\n"}, "Bearer abc"),
        ({"username": "u", "password": "p"}, f"Basic {base64.b64encode(b'u:p').decode()}"),
    ],
)
def test_credentials_stay_with_the_server(
    tmp_path: Path, keys: dict[str, str], header: str
) -> None:
    """They are sent, and not to where a redirection leads."""
    with serving(lambda _: Answer(PACKED)) as target:

        def script(request: Request) -> Answer:
            if request.headers.get("Authorization") != header:
                return Answer(code=401)
            return Answer(code=302, headers={"Location": f"{target.url}/there"})

        with serving(script) as server:
            known = secret(tmp_path, **keys)
            url = f"{server.url}/a"
            download.unpack_uri(url, str(tmp_path / "code"), digest(PACKED), known)
        assert "Authorization" not in target.requests[0].headers
        with pytest.raises(UnpackError, match="it needs token, or username and password"):
            download.unpack_uri(url, str(tmp_path / "code"), digest(PACKED), Secret(str(tmp_path)))


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (Answer(code=404), UnpackError, "nothing at this address"),
        (Answer(code=401), UnpackError, r"name a Secret in code\.uri\.secret"),
        (Answer(code=403), UnpackError, "has expired"),
        (Answer(code=503), Unreachable, "status 503"),
        (Answer(PACKED, cut=True), Unreachable, "cut"),
        (Answer(code=302, headers={"Location": "file:///etc/passwd"}), UnpackError, "not allowed"),
        (Answer(code=302, headers={"Location": "ftp://127.0.0.1/x"}), UnpackError, "unknown url"),
    ],
)
def test_answers_that_are_no_archive(
    tmp_path: Path, answer: Answer, kind: type[UnpackError], said: str
) -> None:
    """Each with its own message; those that may pass are tried again."""
    code = str(tmp_path / "code")
    with serving(lambda _: answer) as server, pytest.raises(kind, match=said):
        download.unpack_uri(f"{server.url}/a", code, digest(PACKED), Secret(None))
    assert len(server.requests) == (3 if kind is Unreachable else 1)


def test_an_authority_of_ones_own(tmp_path: Path) -> None:
    """Its certificate alone in the Secret, or beside a token."""
    context, authority = self_signed(tmp_path)
    with serving(lambda _: Answer(PACKED), tls=context) as server:
        url, code = f"{server.url}/a", str(tmp_path / "code")
        with pytest.raises(UnpackError, match=r"into the Secret as ca\.crt"):
            download.unpack_uri(url, code, digest(PACKED), Secret(None))
        known = secret(tmp_path, **{"ca.crt": authority})
        assert download.unpack_uri(url, code, digest(PACKED), known) == 1
        (tmp_path / "secret/token").write_text("abc")
        assert download.unpack_uri(url, code, digest(PACKED), known) == 1
    assert server.requests[-1].headers["Authorization"] == "Bearer abc"


def test_nobody_is_there(tmp_path: Path) -> None:
    """An address without a server."""
    with pytest.raises(Unreachable, match="cannot be reached"):
        download.unpack_uri("http://127.0.0.1:9/a", str(tmp_path / "code"), "", Secret(None))
    with pytest.raises(UnpackError, match="only https, http and s3"):
        download.unpack_uri("ftp://127.0.0.1/a", str(tmp_path / "code"), "", Secret(None))


def test_a_file_without_end(tmp_path: Path) -> None:
    """The download stops at the limit."""
    limits, path = Limits(archive=4000), str(tmp_path / "archive")
    with (
        serving(lambda _: Answer(b"x" * 5000)) as server,
        pytest.raises(UnpackError, match="larger than 4000 bytes"),
    ):
        download.unpack_uri(f"{server.url}/a", path, "", Secret(None), limits)


def test_a_bundle_from_the_store(tmp_path: Path) -> None:
    """The token goes in a header; the digest is that of the tar, however it was packed."""

    def script(request: Request) -> Answer:
        right = request.headers.get("X-Runyard-Token") == "right"
        return Answer(PACKED) if right else Answer(code=403)

    with serving(script) as server:
        code = tmp_path / "code"
        assert download.unpack_stored(server.url, str(code), digest(PLAIN), "right") == 1
        with pytest.raises(UnpackError, match="push it again"):
            download.unpack_stored(server.url, str(code), digest(b"other"), "right")
        with pytest.raises(UnpackError, match="status 403"):
            download.unpack_stored(server.url, str(code), digest(PLAIN), "wrong")
