"""The submitter on a line and with a dashboard that misbehave; the real ones are in tests/e2e."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from runyard_operator.backends.ray.protocol import DRIVER_MARK, SHARED_VARIABLE, Lines
from runyard_operator.backends.ray.submitter import (
    Dashboard,
    LostError,
    RefusedError,
    follow,
    run,
)

JOB = "u-2"
REQUEST = {"submission_id": JOB, "entrypoint": "true"}
END = f"\n{DRIVER_MARK} {JOB} 0 -\n"


@dataclass
class Ray:
    """The few calls of Ray's job API, as https://docs.ray.io describes them."""

    jobs: dict[str, str] = field(default_factory=dict)
    log: tuple[str, ...] = ("one\n", "two\n", END)
    breaks: int = 0
    """How many connections break in the middle of the log."""
    answers: list[int] = field(default_factory=list)
    """Status codes of the next submits, in place of success; the job is taken in any case."""
    calls: list[str] = field(default_factory=list)
    forgets: bool = False
    goes_on: bool = False
    tailed: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> web.Application:
        """The server."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/api/jobs/", self.listed),
                web.post("/api/jobs/", self.submit),
                web.get("/api/jobs/{id}", self.info),
                web.post("/api/jobs/{id}/stop", self.stop),
                web.get("/api/jobs/{id}/logs/tail", self.tail),
            ]
        )
        return app

    async def listed(self, _: web.Request) -> web.Response:
        found = [{"submission_id": name, "status": state} for name, state in self.jobs.items()]
        return web.json_response(found)

    async def submit(self, request: web.Request) -> web.Response:
        name = (await request.json())["submission_id"]
        self.calls.append(f"submit {name}")
        status = self.answers.pop(0) if self.answers else 200
        if status == 400 and not self.jobs.get(name):
            return web.Response(status=400, text="Traceback\nValueError: no such thing\n")
        if name in self.jobs:
            return web.Response(status=400, text="Please use a different submission_id.")
        self.jobs[name] = "RUNNING"
        return web.Response(status=status, text="{}")

    async def info(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if name not in self.jobs:
            return web.Response(status=404)
        return web.json_response({"submission_id": name, "status": self.jobs[name]})

    async def stop(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        self.calls.append(f"stop {name}")
        self.jobs[name] = "STOPPED"
        self.stopped.set()
        return web.json_response({"stopped": True})

    async def tail(self, request: web.Request) -> web.WebSocketResponse:
        stream = web.WebSocketResponse()
        await stream.prepare(request)
        self.tailed.set()
        for piece in self.log[: 2 if self.breaks else None]:
            await stream.send_str(piece)
        if self.breaks:
            self.breaks -= 1
        elif self.forgets:
            self.jobs.clear()
        elif not self.goes_on:
            self.jobs[request.match_info["id"]] = "SUCCEEDED"
        if self.goes_on:
            await self.stopped.wait()
        return stream


@dataclass
class Bench:
    """A dashboard to talk to, and what was printed."""

    ray: Ray
    dashboard: Dashboard
    server: TestServer
    lines: Lines
    printed: list[str]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A server on loopback."""
    ray, printed = Ray(), list[str]()
    server = TestServer(ray.app())
    await server.start_server()
    async with aiohttp.ClientSession() as session:
        dashboard = Dashboard(session, f"127.0.0.1:{server.port}", patience=1.0)
        yield Bench(ray, dashboard, server, Lines(JOB, printed.append), printed)
    await server.close()


async def go(bench: Bench) -> dict[str, Any]:
    """The job to its end."""
    return await run(bench.dashboard, REQUEST, bench.lines)


async def test_the_log_is_printed_once_however_often_it_breaks(bench: Bench) -> None:
    """Ray sends it from its beginning each time."""
    bench.ray.breaks = 2
    assert (await go(bench))["status"] == "SUCCEEDED"
    assert "".join(bench.printed) == "one\ntwo\n"


async def test_a_submit_whose_answer_was_bad_is_not_repeated_in_effect(bench: Bench) -> None:
    """The id is taken: the job is followed."""
    bench.ray.answers = [502]
    assert (await go(bench))["status"] == "SUCCEEDED"
    assert bench.ray.jobs == {JOB: "SUCCEEDED"}


async def test_a_job_that_is_there_is_followed(bench: Bench) -> None:
    """An earlier submit of the same attempt made it."""
    bench.ray.jobs[JOB] = "RUNNING"
    assert (await go(bench))["status"] == "SUCCEEDED"


async def test_a_job_that_ray_refuses_is_told_by_the_last_line(bench: Bench) -> None:
    """Ray answers with a traceback."""
    bench.ray.answers = [400]
    with pytest.raises(RefusedError, match=r"ValueError: no such thing$"):
        await go(bench)


async def test_earlier_attempts_are_stopped_before_this_one_begins(bench: Bench) -> None:
    """However it came that they still run."""
    bench.ray.jobs = {"u-1": "RUNNING", "v-1": "RUNNING", "u-3": "RUNNING"}
    await go(bench)
    assert bench.ray.calls == ["stop u-1", f"submit {JOB}"]


async def test_a_job_that_ray_has_forgotten_is_lost(bench: Bench) -> None:
    """The head was started anew; it is not submitted a second time."""
    bench.ray.forgets = True
    bench.ray.log = ("one\n",)
    with pytest.raises(LostError, match="started anew"):
        await go(bench)
    assert bench.ray.calls == [f"submit {JOB}"]


async def test_a_dashboard_that_is_gone_is_lost_after_the_patience(bench: Bench) -> None:
    """And no earlier: a head may be busy for a while."""
    await bench.server.close()
    with pytest.raises(LostError, match="does not answer any more"):
        await go(bench)


@pytest.mark.parametrize("shared", [True, False])
async def test_a_pod_that_is_told_to_end_stops_the_job_where_it_would_go_on(
    bench: Bench, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster of the job's own goes with it."""
    monkeypatch.setenv(SHARED_VARIABLE, "1" if shared else "")
    bench.ray.goes_on = True
    ending = asyncio.ensure_future(follow(bench.dashboard, REQUEST, bench.lines))
    await bench.ray.tailed.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    end = await ending
    assert end.code == 143
    assert bench.ray.jobs == {JOB: "STOPPED" if shared else "RUNNING"}
    bench.ray.stopped.set()
