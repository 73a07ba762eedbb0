"""Archives from a bucket of S3, or of a server that speaks the same protocol."""

from __future__ import annotations

import hashlib
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from runyard_operator.unpack.limits import BLOCK, Limits
from runyard_operator.unpack.problems import UnpackError, Unreachable, redacted
from runyard_operator.unpack.secret import Secret

KEYS: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
)
"""The keys of the Secret, named as the AWS tools name their variables; the first two must be."""
_RETRIES: Final = 4
_SECONDS: Final = "60s"


def fetch(url: str, path: str, secret: Secret, limits: Limits) -> str:
    """Downloads s3://BUCKET/KEY to the file `path` and returns the file's digest.

    Raises:
        Unreachable: the server gave no whole answer, several times.
        UnpackError: it refused, there is no such object, or it is too large.
    """
    import obstore
    from obstore.exceptions import BaseError, GenericError

    parts = urlsplit(url)
    key = unquote(parts.path.lstrip("/"))
    if not parts.netloc or not key:
        raise UnpackError(f"{redacted(url)}: an address in S3 is s3://BUCKET/KEY")
    hasher, size = hashlib.sha256(), 0
    try:
        found = obstore.get(_store(parts.netloc, secret), key)
        with open(path, "wb") as out:
            for block in found.stream(min_chunk_size=BLOCK):
                size += len(block)
                if size > limits.archive:
                    raise UnpackError(
                        f"{redacted(url)} is larger than {limits.archive} bytes: leave data out of"
                        " the code"
                    )
                hasher.update(block)
                out.write(block)
    except FileNotFoundError:
        raise UnpackError(f"{redacted(url)}: there is no such object, or no such bucket") from None
    except GenericError as problem:
        raise Unreachable(_said(url, problem, secret)) from None
    except BaseError as problem:
        raise UnpackError(_said(url, problem, secret)) from None
    return f"sha256:{hasher.hexdigest()}"


def _store(bucket: str, secret: Secret) -> Any:
    from obstore.store import S3Store

    given = {key: secret.line(key) for key in KEYS}
    if secret and not (given[KEYS[0]] and given[KEYS[1]]):
        raise UnpackError(
            f"the Secret has the keys {', '.join(secret.keys()) or 'none'}: an address in S3 needs"
            f" {KEYS[0]} and {KEYS[1]}"
        )
    config: dict[str, Any] = {key.lower(): given[key] for key in KEYS[:3] if given[key]}
    config["region"] = given[KEYS[3]] or "us-east-1"
    endpoint = given[KEYS[4]] or ""
    if endpoint:
        config["endpoint"] = endpoint
    if not secret:
        config["skip_signature"] = True
    return S3Store(
        bucket,
        config=config,  # type: ignore[arg-type]
        client_options={"timeout": _SECONDS, "allow_http": endpoint.startswith("http:")},
        retry_config={"max_retries": _RETRIES},
    )


def _said(url: str, problem: Exception, secret: Secret) -> str:
    known = [value for value in map(secret.line, KEYS[:3]) if value]
    return redacted(f"{url}: {problem}", known)
