"""Credentials and connections: where the API server is and how requests are authenticated."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

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
        # For each request and not once for the session: service account tokens expire within the
        # hour, and the configuration's hook reads the fresh one from its file.
        token = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            request.headers["Authorization"] = token
        response = await handler(request)
        await seen(request, response)
        return response

    tls = RESTClientObject(configuration).ssl_context
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit, ssl=tls),
        middlewares=(authenticate,),
        proxy=configuration.proxy or None,
        trust_env=True,
        read_bufsize=2**21,
    )
