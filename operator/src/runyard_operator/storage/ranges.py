"""Answers of named bytes, whole or in part."""

from __future__ import annotations

from aiohttp import web

from runyard_operator.storage.backend import Backend


async def respond(
    request: web.Request, backend: Backend, name: str, size: int, kind: str
) -> web.StreamResponse:
    """All bytes, or those of the Range header (one range; RFC 9110).

    Args:
        request: GET or HEAD.
        backend: where the bytes lie.
        name: under which.
        size: how many there are.
        kind: their content type.
    """
    start, count, status = 0, size, 200
    if "Range" in request.headers:
        try:
            start, count = _bounds(request.http_range, size)
        except ValueError:
            headers = {"Content-Range": f"bytes */{size}"}
            return web.Response(status=416, headers=headers)
        status = 206
    headers = {"Accept-Ranges": "bytes", "Content-Length": str(count), "Content-Type": kind}
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{start + count - 1}/{size}"
    response = web.StreamResponse(status=status, headers=headers)
    await response.prepare(request)
    if request.method != "HEAD":
        async for piece in backend.read(name, start, count):
            await response.write(piece)
        await response.write_eof()
    return response


def _bounds(wanted: slice, size: int) -> tuple[int, int]:
    """First byte and number of bytes.

    Raises:
        ValueError: there is no such byte.
    """
    start = wanted.start or 0
    if start < 0:  # the last bytes
        start = max(size + start, 0)
    stop = size if wanted.stop is None else min(wanted.stop, size)
    if start >= stop:
        raise ValueError(f"no bytes from {start} on")
    return start, stop - start
