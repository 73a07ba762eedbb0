"""Git over smart HTTP and over SSH: git's own programs behind servers of the test's process."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncssh

_AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Test"), ("EMAIL", "test@example.org"))
}
_ALONE = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", **_AUTHOR}


def git(folder: Path, *arguments: str) -> str:
    """Runs git in the folder, without anybody's configuration."""
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=folder,
        env={**os.environ, **_ALONE},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@dataclass(frozen=True)
class Repository:
    """A repository on disk that servers show as `<name>.git`."""

    folder: Path

    @classmethod
    def create(cls, root: Path, name: str) -> Repository:
        folder = root / f"{name}.git"
        folder.mkdir(parents=True)
        git(folder, "init", "-q", "-b", "main")
        return cls(folder)

    def commit(self, files: dict[str, str | bytes], message: str = "change") -> str:
        """Writes files, commits everything, and returns the commit."""
        for path, content in files.items():
            place = self.folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-q", "--allow-empty", "-m", message)
        return git(self.folder, "rev-parse", "HEAD")


@dataclass
class GitServer:
    """A running server; `password` is asked for when set, `old` speaks no protocol 2."""

    url: str
    user: str | None = None
    password: str | None = None
    old: bool = False
    broken: int = 0
    """How many requests are answered by 503 before it works."""
    requests: list[str] = field(default_factory=list)

    def allows(self, header: str | None) -> bool:
        if self.password is None:
            return True
        wanted = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return header == f"Basic {wanted}"


@contextlib.contextmanager
def git_over_http(
    root: Path,
    address: str = "127.0.0.1",
    *,
    tls: ssl.SSLContext | None = None,
    **fields: Any,
) -> Iterator[GitServer]:
    """Serves the repositories below `root`."""
    state = GitServer(url="", **fields)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._backend(b"")

        def do_POST(self) -> None:
            self._backend(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def _backend(self, body: bytes) -> None:
            state.requests.append(f"{self.command} {self.path}")
            if state.broken > 0:
                state.broken -= 1
                self.send_error(503)
                return
            if not state.allows(self.headers.get("Authorization")):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            environ = {
                **os.environ,
                **_ALONE,
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
                "REMOTE_ADDR": "127.0.0.1",
            }
            if not state.old:
                environ["GIT_PROTOCOL"] = self.headers.get("Git-Protocol") or ""
            # A folder of the test's user may belong to another one than the process.
            command = ["git", "-c", "safe.directory=*", "http-backend"]
            done = subprocess.run(command, env=environ, input=body, capture_output=True)
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            fields = [line.partition(":") for line in head.decode().splitlines()]
            headers = {name.strip(): value.strip() for name, _, value in fields}
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer((address, 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    state.url = f"{'https' if tls else 'http'}://{address}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class SshServer:
    """A running server; `key` is the only one that it takes, `known_hosts` names its own."""

    url: str
    key: str
    other_key: str
    known_hosts: str
    others_known_hosts: str


@contextlib.contextmanager
def git_over_ssh(root: Path, address: str = "127.0.0.1") -> Iterator[SshServer]:
    """Serves the repositories below `root` to one key, over SSH."""
    host, strange, client, other = (asyncssh.generate_private_key("ssh-ed25519") for _ in "four")

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            return username == "git" and key.public_data == client.public_data

    async def process(session: asyncssh.SSHServerProcess[bytes]) -> None:
        program, _, path = (session.command or "").partition(" ")
        name = path.strip("'/ ")
        if program != "git-upload-pack" or "/" in name:
            session.exit(1)
            return
        child = await asyncio.create_subprocess_exec(
            "git", "-c", "safe.directory=*", "upload-pack", str(root / name),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env={**os.environ, **_ALONE},
        )  # fmt: skip
        await session.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
        session.exit(await child.wait())
        await session.wait_closed()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            address, 0, server_host_keys=[host], server_factory=Server,
            process_factory=process, encoding=None,
        )  # fmt: skip

    async def close() -> None:
        acceptor.close()
        await acceptor.wait_closed()
        rest = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
        await asyncio.wait_for(asyncio.gather(*rest, return_exceptions=True), 30)

    acceptor = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)
    port = acceptor.get_port()
    where = f"[{address}]:{port}"
    try:
        yield SshServer(
            url=f"ssh://git@{address}:{port}",
            key=client.export_private_key().decode(),
            other_key=other.export_private_key().decode(),
            known_hosts=f"{where} {host.export_public_key().decode()}",
            others_known_hosts=f"{where} {strange.export_public_key().decode()}",
        )
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
