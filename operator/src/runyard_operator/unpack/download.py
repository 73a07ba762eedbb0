"""Archives from a web server or a bucket: fetched whole, checked, and only then unpacked."""

from __future__ import annotations

import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from runyard_operator.unpack.archive import copy_hashed, staging, unpack_bundle, unpack_file
from runyard_operator.unpack.limits import DEFAULT, Limits
from runyard_operator.unpack.problems import UnpackError, Unreachable, redacted
from runyard_operator.unpack.secret import KEY_CA, Secret

TIMEOUT: Final = 60.0
"""Seconds in which a server must say something."""
PAUSES: Final = (1.0, 4.0, 10.0)
"""Seconds between tries; there is one try more than there are pauses."""
STORE_TOKEN_HEADER: Final = "X-Runyard-Token"  # noqa: S105 - the header's name
_TRY_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_HINTS: Final = {
    401: "the server wants credentials: name a Secret in code.uri.secret, or correct it",
    403: "the credentials are not allowed to read it, or the signed address has expired",
    404: "there is nothing at this address",
}

Sleep = Callable[[float], None]


def unpack_uri(url: str, target: str, digest: str, secret: Secret, limits: Limits = DEFAULT) -> int:
    """Downloads the archive, checks that the file has the digest, and unpacks it.

    Returns:
        How many files there were.

    Raises:
        Unreachable: the server gave no whole answer, several times.
        UnpackError: it refused, the digest is another one, or an entry is refused.
    """
    with staging(target) as folder:
        archive = os.path.join(folder, "archive")
        found = _fetch_any(url, archive, secret, limits)
        if found != digest:
            raise UnpackError(
                f"the archive at {redacted(url)} has the digest {found}, and code.uri.digest is"
                f" {digest}: it was changed since, or the digest is not that of the file"
            )
        return unpack_file(archive, target, limits)


def unpack_stored(url: str, target: str, digest: str, token: str, limits: Limits = DEFAULT) -> int:
    """Downloads a bundle from the code store and unpacks it; `digest` is that of its tar.

    Raises:
        Unreachable, UnpackError: see `unpack_uri`.
    """
    with staging(target) as folder:
        archive = os.path.join(folder, "archive")
        fetch(url, archive, {STORE_TOKEN_HEADER: token}, limits.archive)
        return unpack_bundle(archive, target, digest, limits)


def _fetch_any(url: str, path: str, secret: Secret, limits: Limits) -> str:
    if urlsplit(url).scheme == "s3":
        from runyard_operator.unpack import s3

        return s3.fetch(url, path, secret, limits)
    authorization = secret.authorization()
    headers = {} if authorization is None else {"Authorization": authorization}
    return fetch(url, path, headers, limits.archive, authority=secret.text(KEY_CA))


def fetch(
    url: str,
    path: str,
    headers: Mapping[str, str],
    limit: int,
    *,
    authority: str | None = None,
    sleep: Sleep = time.sleep,
) -> str:
    """Downloads to the file `path` and returns the file's digest.

    `authority` are certificates in PEM that are trusted beside the usual ones.

    Raises:
        Unreachable, UnpackError: see `unpack_uri`.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise UnpackError(f"{redacted(url)}: only https, http and s3 addresses can be downloaded")
    opener = _opener(authority)
    for pause in PAUSES:
        try:
            return _fetch_once(url, path, headers, limit, opener)
        except Unreachable as problem:
            print(f"runyard: {problem}; trying again", flush=True)
            sleep(pause)
    return _fetch_once(url, path, headers, limit, opener)


def _fetch_once(
    url: str,
    path: str,
    headers: Mapping[str, str],
    limit: int,
    opener: urllib.request.OpenerDirector,
) -> str:
    request = urllib.request.Request(url)  # noqa: S310 - the scheme was looked at
    for name, value in headers.items():
        # Not for the server that a redirection leads to.
        request.add_unredirected_header(name, value)
    try:
        with opener.open(request, timeout=TIMEOUT) as answer, open(path, "wb") as out:
            digest = copy_hashed(answer, out, limit, "the archive")
            said = answer.headers.get("Content-Length")
            if said is not None and said.isdecimal() and int(said) != out.tell():
                raise Unreachable(f"{redacted(url)}: the connection was cut at {out.tell()} bytes")
            return digest
    except urllib.error.HTTPError as problem:
        hint = _HINTS.get(problem.code, problem.reason)
        text = f"{redacted(url)}: status {problem.code}: {hint}"
        raise (Unreachable if problem.code in _TRY_LATER else UnpackError)(text) from None
    except urllib.error.URLError as problem:
        if isinstance(problem.reason, ssl.SSLCertVerificationError):
            raise UnpackError(
                f"{redacted(url)}: the server's certificate is from no authority that is known"
                f" ({problem.reason.verify_message}): put the authority's own into the Secret as"
                f" {KEY_CA}"
            ) from None
        # A text is urllib's own refusal, of an address that a redirection led to.
        kind = UnpackError if isinstance(problem.reason, str) else Unreachable
        raise kind(f"{redacted(url)} cannot be reached: {problem.reason}") from None
    except (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException) as problem:
        raise Unreachable(f"{redacted(url)}: {problem or type(problem).__name__}") from None


def _opener(authority: str | None) -> urllib.request.OpenerDirector:
    """Speaks http and https alone: no redirection may lead to a file or to FTP."""
    context = ssl.create_default_context()
    if authority is not None:
        try:
            context.load_verify_locations(cadata=authority)
        except ssl.SSLError as problem:
            raise UnpackError(f"{KEY_CA} of the Secret holds no certificate: {problem}") from None
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
