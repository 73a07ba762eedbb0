"""One connection to an API server: TLS, client certificates, proxies, and what can go wrong."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import SplitResult, unquote, urlsplit

from runyard.kube.credentials import Credentials
from runyard.kube.errors import ConfigError, UnreachableError
from runyard.kube.kubeconfig import Access


class HttpsConnection(http.client.HTTPSConnection):
    """HTTPS whose certificate may be checked against another name than the address."""

    verified_name = ""

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        context: ssl.SSLContext = self._context  # type: ignore[attr-defined]
        self.sock = context.wrap_socket(self.sock, server_hostname=self.verified_name)


class translated:  # noqa: N801 - reads as a statement
    """Turns what sockets, TLS and http.client raise into UnreachableError with a clear text."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if not isinstance(error, OSError | http.client.HTTPException | ValueError | AttributeError):
            return
        if isinstance(error, ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted: {error.verify_message}"
        elif isinstance(error, TimeoutError):
            why = "no answer in time"
        elif isinstance(error, socket.gaierror):
            why = "its host name is not known here"
        elif isinstance(error, http.client.RemoteDisconnected):
            why = "it closed the connection"
        else:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        access = self._access
        raise UnreachableError(
            f"cannot reach the API server {access.server} ({access.source}): {why}"
        ) from error


def tls_context(access: Access, credentials: Credentials) -> ssl.SSLContext:
    """How to check the server and to show the client's certificate.

    Raises:
        ConfigError: a certificate or key is broken.
    """
    try:
        authority = access.authority.decode() if access.authority else None
        context = ssl.create_default_context(cadata=authority)
        # Many clusters' own authorities lack extensions that Python 3.13 asks for by default.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if access.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if credentials.certificate and credentials.key:
            _load_pair(context, credentials.certificate, credentials.key)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"a certificate or key of {access.source} cannot be used: {error}"
        ) from error
    return context


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # The ssl module takes client certificates from files only; this one is readable by nobody
    # else and gone at once.
    descriptor, name = tempfile.mkstemp(prefix="runyard-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate.rstrip() + b"\n" + key)
        context.load_cert_chain(name)
    finally:
        os.unlink(name)


def proxy_of(access: Access, base: SplitResult, environ: Mapping[str, str]) -> SplitResult | None:
    """The proxy of the kubeconfig, else of the environment; only HTTP proxies for HTTPS servers."""
    address = access.proxy
    if not address and base.scheme == "https":
        address = environ.get("HTTPS_PROXY") or environ.get("https_proxy")
        if address and _bypassed(base.hostname or "", environ):
            return None
    if not address:
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise ConfigError(f"the proxy {address!r} cannot be used: only http:// proxies are")
    return proxy


def _bypassed(host: str, environ: Mapping[str, str]) -> bool:
    import ipaddress

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    for entry in (environ.get("NO_PROXY") or environ.get("no_proxy") or "").split(","):
        entry = entry.strip().lower()
        if not entry:
            continue
        bare = entry.lstrip("*").lstrip(".")
        if entry == "*" or host == bare or host.endswith(f".{bare}"):
            return True
        if address is not None and "/" in entry:
            with suppress(ValueError):
                if address in ipaddress.ip_network(entry, strict=False):
                    return True
    return False


def proxy_headers(proxy: SplitResult) -> dict[str, str]:
    """What a proxy with a user in its address wants."""
    if not proxy.username:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
