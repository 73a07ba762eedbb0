"""Credentials and connections: where the API server is and how requests are authenticated."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import config as loading
from kubernetes.aio.client import Configuration
from kubernetes.aio.client.rest import RESTClientObject

TOKEN_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

# Each watch stream holds a connection for good: seven kinds for each watched namespace, and a
# request that waits for a free connection longer than its deadline looks like a dead API server.
MAX_CONNECTIONS: Final = 16


class ConfigError(Exception):
    """No usable way to the API server; the message says what to do."""


async def load_configuration(kubeconfig: str | None = None) -> Configuration:
    """The service account when running in a pod, else the kubeconfig.

    Args:
        kubeconfig: path of a kubeconfig file; it is preferred to the service account.

    Raises:
        ConfigError: neither is usable.
    """
    configuration = Configuration()
    configuration.connection_pool_maxsize = MAX_CONNECTIONS
    try:
        if kubeconfig is None and in_cluster():
            loading.load_incluster_config(client_configuration=configuration)
        else:
            await loading.load_kube_config(
                config_file=kubeconfig, client_configuration=configuration, persist_config=False
            )
    except (loading.ConfigException, OSError) as error:
        raise ConfigError(
            f"no way to the API server: {error}. Run in a pod with a service account, or name a"
            " kubeconfig file with --kubeconfig or KUBECONFIG"
        ) from error
    return configuration


def in_cluster() -> bool:
    """Whether this process runs in a pod with a mounted service account."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and TOKEN_FILE.is_file()


def watch_session(
    configuration: Configuration,
    *,
    limit: int,
    seen: Callable[[aiohttp.ClientRequest, aiohttp.ClientResponse], Awaitable[None]],
) -> aiohttp.ClientSession:
    """A session for kopf's lists and watches, with the same credentials as the client's.

    Args:
        configuration: as `load_configuration` gives it.
        limit: how many connections may be open; must exceed the number of watch streams.
        seen: is told of every answer whose headers have arrived, before kopf is.
    """

    async def authenticate(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        token = await bearer(configuration)
        if token:
            request.headers["Authorization"] = token
        response = await handler(request)
        await seen(request, response)
        return response

    return session(configuration, limit=limit, middlewares=(authenticate,))


async def bearer(configuration: Configuration) -> str | None:
    """The value of the Authorization header, if there is to be one.

    Asked for each request and not once for a session: service account tokens expire within the
    hour, and the configuration's hook reads the fresh one from its file.
    """
    token: str | None = await configuration.get_api_key_with_prefix(
        "BearerToken", alias="authorization"
    )
    return token


def session(configuration: Configuration, *, limit: int, **more: Any) -> aiohttp.ClientSession:
    """A session with the configuration's certificates and proxy.

    Args:
        configuration: as `load_configuration` gives it.
        limit: how many connections may be open.
        more: goes to aiohttp.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=limit, ssl=RESTClientObject(configuration).ssl_context
        ),
        # aiohttp's own look at the environment costs each request two jumps to a thread.
        proxy=configuration.proxy or _environment_proxy(configuration.host),
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=2**21,
        **more,
    )


def _environment_proxy(server: str) -> str | None:
    """What HTTPS_PROXY, HTTP_PROXY and NO_PROXY say about the API server."""
    where = urlsplit(server)
    if where.hostname is None or proxy_bypass(where.hostname):
        return None
    return getproxies().get(where.scheme)
