"""The store as a process: `python -m runyard_operator.storage`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from runyard_operator import __version__
from runyard_operator.bundles.tokens import KeyFileError, read_key
from runyard_operator.flags import UsageError
from runyard_operator.kube import ConfigError, HttpKubeApi, load_configuration
from runyard_operator.logs_json import configure
from runyard_operator.storage import s3, sweep
from runyard_operator.storage.app import Busy, application
from runyard_operator.storage.depot import Depot
from runyard_operator.storage.folder import Folder
from runyard_operator.storage.settings import Settings, parse

logger = logging.getLogger(__name__)

GRACE_SECONDS: Final = 25.0


async def run(settings: Settings) -> None:
    """Serves until a signal; uploads that are under way may then end.

    Raises:
        ConfigError, KeyFileError, OSError: it cannot begin.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    key = read_key(settings.key_file)
    kube = HttpKubeApi(await load_configuration(settings.kubeconfig))
    depot = Depot(Folder(settings.data), settings.limits)
    logs = s3.from_environ(os.environ, settings.data) or depot.backend
    busy = Busy()
    app = application(
        depot, kube, key, now=_now, ready=lambda: not stop.is_set(), logs=logs, busy=busy
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, settings.host, settings.port)
    await site.start()
    host, port = runner.addresses[0][:2]
    logger.info("The code store of Runyard %s listens on %s:%d", __version__, host, port)
    sweeping = asyncio.create_task(
        sweep.run(depot, logs, kube, key, settings.scopes, _now, settings.log_days)
    )
    await stop.wait()
    logger.info("The code store ends; uploads that are under way may end, too")
    sweeping.cancel()
    await site.stop()
    if not await busy.ended(GRACE_SECONDS):
        logger.warning("Requests were cut off after %d s; clients send again", GRACE_SECONDS)
    await runner.cleanup()
    await kube.close()


def _now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    """The program."""
    try:
        settings = parse(sys.argv[1:], os.environ)
        configure(settings.log_level, settings.log_format)
        asyncio.run(run(settings))
    except (UsageError, ConfigError, KeyFileError, OSError) as error:
        sys.exit(f"runyard store: {error}")


if __name__ == "__main__":
    main()
