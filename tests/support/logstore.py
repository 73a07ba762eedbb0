"""The real code store, served by the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from runyard_operator.storage.app import application
from runyard_operator.storage.backend import Backend
from runyard_operator.storage.depot import Depot, Limits
from runyard_operator.storage.folder import Folder

KEY = b"a key of the tests, long enough"


@asynccontextmanager
async def log_store(
    folder: Path, kube: Any, logs: Backend | None = None, *, host: str = "127.0.0.1"
) -> AsyncIterator[str]:
    """Serves while the block lasts; gives its URL."""
    depot = Depot(Folder(folder), Limits())
    app = application(depot, kube, KEY, now=lambda: datetime.now(UTC), logs=logs)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0).start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
