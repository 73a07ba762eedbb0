"""Runs in the pod that submits a task's job to Ray, follows it, and ends as the job ends.

KubeRay starts it in place of its own submitter, which would need the Ray image, knows no exit code
of the driver, and cannot tell a refused job from a failed one. This pod's log is the driver's log,
its exit code is the driver's, and its termination message is what the driver's wrapper has to say
about the outputs, as if the task ran here.

The API that it speaks: https://docs.ray.io/en/latest/cluster/running-applications/job-submission.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runyard_operator.backends.ray.protocol import (
    EXIT_RAY,
    REQUEST_VARIABLE,
    SHARED_VARIABLE,
    Driver,
    Lines,
    trouble,
)

TERMINATION_LOG = "/dev/termination-log"
TOKEN_VARIABLE = "RAY_AUTH_TOKEN"  # noqa: S105 - the name that KubeRay gives it
ADDRESS_VARIABLE = "RAY_DASHBOARD_ADDRESS"

ENDED = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
_PATIENCE_SECONDS = 120.0
"""How long the dashboard may be silent before the cluster counts as lost."""
_POLL_SECONDS = 1.0
_NO_MEMORY = "node running low on memory"
"""Ray's words when its own memory monitor has killed a worker or the driver."""


class LostError(Exception):
    """The cluster, or the job in it, is not there any more; the message is for the user."""


class RefusedError(Exception):
    """Ray does not take the job; the message is for the user."""


class Dashboard:
    """Ray's job API. Every call is repeated until it is answered, within the patience."""

    def __init__(self, session: Any, address: str, patience: float = _PATIENCE_SECONDS) -> None:
        self._session = session
        self._base = address if "://" in address else f"http://{address}"
        self._patience = patience

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Status and text of the answer.

        Raises:
            LostError: nobody has answered for too long.
        """
        import aiohttp

        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        while True:
            try:
                async with self._session.request(method, self._base + path, json=body) as answer:
                    status, text = answer.status, await answer.text()
                # Ray's own proxies answer 5xx while the head begins or ends.
                if status < 500 or loop.time() >= until:
                    return status, text
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if loop.time() >= until:
                    raise LostError(
                        f"the Ray head at {self._base} does not answer any more ({error}): it may"
                        " have been killed or its node lost"
                    ) from error
            await asyncio.sleep(_POLL_SECONDS)

    async def info(self, job: str) -> dict[str, Any] | None:
        """What Ray says about a job; None if it knows none."""
        status, text = await self.call("GET", f"/api/jobs/{job}")
        if status == 404:
            return None
        return _read(status, text)

    async def jobs(self) -> list[dict[str, Any]]:
        """All jobs that Ray knows."""
        status, text = await self.call("GET", "/api/jobs/")
        found = json.loads(text) if status == 200 else []
        return [each for each in found if isinstance(each, dict)]

    async def submit(self, request: Mapping[str, Any]) -> bool:
        """Submits; False when Ray has the job already.

        Raises:
            RefusedError: Ray does not take it.
        """
        job = request["submission_id"]
        status, text = await self.call("POST", "/api/jobs/", request)
        if status == 200:
            return True
        # An answer may have been lost: the id decides, Ray takes it only once.
        if await self.info(job) is not None:
            return False
        raise RefusedError(f"Ray refuses the job: {_last_line(text)}")

    async def stop(self, job: str) -> None:
        """Asks Ray to end a job, and waits until it has ended."""
        await self.call("POST", f"/api/jobs/{job}/stop")
        while True:
            found = await self.info(job)
            if found is None or found.get("status") in ENDED:
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def follow(self, job: str, lines: Lines) -> None:
        """Passes the log on until the job has ended or the connection breaks."""
        import aiohttp

        path = f"{self._base}/api/jobs/{job}/logs/tail"
        lines.again()
        try:
            async with self._session.ws_connect(path, max_msg_size=0, heartbeat=30) as stream:
                async for message in stream:
                    if message.type == aiohttp.WSMsgType.TEXT:
                        lines.take(message.data)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return


def _read(status: int, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if status != 200 or not isinstance(found, dict):
        raise LostError(f"Ray's dashboard answers {status}: {_last_line(text)}")
    return found


def _last_line(text: str) -> str:
    return next((each.strip() for each in reversed(text.splitlines()) if each.strip()), "")[:1024]


async def run(dashboard: Dashboard, request: Mapping[str, Any], lines: Lines) -> dict[str, Any]:
    """Submits the job and follows it to its end; returns what Ray says of it then.

    Older attempts of the same task are stopped first: none runs beside this one.

    Raises:
        LostError, RefusedError: the job cannot be followed, or was never taken.
    """
    job = str(request["submission_id"])
    older = older_than(job, await dashboard.jobs())
    for each in older:
        print(f"runyard: stopping {each}, an earlier attempt of this task", flush=True)
        await dashboard.stop(each)
    await dashboard.submit(request)
    while True:
        following = asyncio.ensure_future(dashboard.follow(job, lines))
        last_word = asyncio.ensure_future(lines.ended.wait())
        try:
            # What has said its last word ends soon: Ray closes the log some seconds later.
            await asyncio.wait({following, last_word}, return_when=asyncio.FIRST_COMPLETED)
            found = await dashboard.info(job)
        finally:
            following.cancel()
            last_word.cancel()
        if found is None:
            raise LostError(
                "Ray does not know the job any more: the head of the cluster was started anew"
            )
        if found.get("status") in ENDED:
            return found
        await asyncio.sleep(_POLL_SECONDS / 4 if lines.ended.is_set() else _POLL_SECONDS)


def older_than(job: str, jobs: list[dict[str, Any]]) -> list[str]:
    """The earlier attempts of a job that may still run: the same name with a smaller number."""
    stem, _, number = job.rpartition("-")
    found = []
    for each in jobs:
        other = str(each.get("submission_id") or "")
        its_stem, _, its_number = other.rpartition("-")
        if (
            its_stem == stem
            and its_number.isdigit()
            and int(its_number) < int(number)
            and each.get("status") not in ENDED
        ):
            found.append(other)
    return found


@dataclass(frozen=True, slots=True)
class End:
    """How the pod ends."""

    code: int
    message: str = ""


def end_of(found: Mapping[str, Any], driver: Driver | None) -> End:
    """The exit code and the termination message of a job that has ended, `found` as Ray has it."""
    status, said = found.get("status"), str(found.get("message") or "")
    if status == "SUCCEEDED":
        return End(0, driver.frame if driver else "")
    code = driver.code if driver is not None else _code(found)
    if status == "FAILED" and _NO_MEMORY in said:
        return End(code or EXIT_RAY, trouble("Memory", _about_memory(said)))
    if code:
        return End(code, driver.frame if driver else "")
    if status == "STOPPED":
        return End(EXIT_RAY, trouble("Stopped", f"the Ray job was stopped from outside: {said}"))
    return End(EXIT_RAY, trouble("Launch", f"Ray could not run the job: {_brief(said)}"))


def _code(found: Mapping[str, Any]) -> int:
    """The driver's exit code as Ray has it; 0 when it has none."""
    code = found.get("driver_exit_code")
    if found.get("status") != "FAILED" or not isinstance(code, int):
        return 0
    return 128 - code if code < 0 else code


def _about_memory(said: str) -> str:
    """Of Ray's page about it, the sentence."""
    line = next(each for each in said.splitlines() if _NO_MEMORY in each)
    words = line[: line.index(_NO_MEMORY) + len(_NO_MEMORY)].strip()[-300:]
    return f"{words}: raise memory of executor.ray.head or of the workerGroups"


def _brief(said: str) -> str:
    """The first line, and the last one of a traceback."""
    lines = [each.strip() for each in said.splitlines() if each.strip()]
    first = lines[0].partition("Full traceback")[0].strip() if lines else "no reason is given"
    return first if len(lines) < 2 else f"{first} ({lines[-1][:300]})"


async def follow(dashboard: Dashboard, request: Mapping[str, Any], lines: Lines) -> End:
    """Runs the job to its end, or stops it when this pod is told to end."""
    job = str(request["submission_id"])
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    work = asyncio.ensure_future(run(dashboard, request, lines))
    telling = asyncio.ensure_future(told.wait())
    await asyncio.wait({work, telling}, return_when=asyncio.FIRST_COMPLETED)
    telling.cancel()
    if not work.done():
        work.cancel()
        # In a cluster that stays, the job would go on for ever.
        if os.environ.get(SHARED_VARIABLE):
            await dashboard.stop(job)
        return End(128 + signal.SIGTERM)
    try:
        return end_of(work.result(), lines.driver)
    except RefusedError as error:
        return End(EXIT_RAY, trouble("Refused", str(error)))
    except LostError as error:
        return End(EXIT_RAY, trouble("Lost", str(error)))


async def main() -> End:
    """Talks to the cluster that the environment names."""
    import aiohttp

    request = json.loads(os.environ[REQUEST_VARIABLE])
    token = os.environ.get(TOKEN_VARIABLE)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    lines = Lines(str(request["submission_id"]), lambda text: print(text, end="", flush=True))
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        end = await follow(Dashboard(session, os.environ[ADDRESS_VARIABLE]), request, lines)
    lines.finish()
    return end


def program() -> int:
    """The driver's exit code, or EXIT_RAY with the reason as the pod's last message."""
    end = asyncio.run(main())
    if end.message:
        with open(TERMINATION_LOG, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(end.message)
    return end.code


if __name__ == "__main__":
    sys.exit(program())
