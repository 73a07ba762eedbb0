"""A package index with wheels that the test makes: PEP 503 pages over HTTP."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.support.httpserver import Answer, Request, Served, serving


def wheel(name: str, version: str, files: Mapping[str, str], *, needs: tuple[str, ...] = (),
          programs: Mapping[str, str] | None = None) -> tuple[str, bytes]:  # fmt: skip
    """A wheel's file name and bytes; `programs` are console scripts, name to `module:function`.

    Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    """
    info = f"{name}-{version}.dist-info"
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    lines += [f"Requires-Dist: {each}" for each in needs]
    whole = {
        **files,
        f"{info}/METADATA": "\n".join(lines) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if programs:
        entries = "".join(f"{key} = {value}\n" for key, value in programs.items())
        whole[f"{info}/entry_points.txt"] = f"[console_scripts]\n{entries}"
    record = ""
    for path, text in whole.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record += f"{path},sha256={digest.decode()},{len(text.encode())}\n"
    whole[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in whole.items():
            archive.writestr(path, text)
    return f"{name}-{version}-py3-none-any.whl", out.getvalue()


@dataclass
class Index:
    """A running index. With `login`, user:password is asked for."""

    served: Served
    wheels: dict[str, bytes] = field(default_factory=dict)
    login: str | None = None

    @property
    def url(self) -> str:
        return f"{self.served.url}/simple"

    @property
    def downloads(self) -> list[str]:
        """The wheels that were sent; not those that pip had already and asked about only."""
        asked = (each for each in self.served.requests if each.path.endswith(".whl"))
        return [each.path for each in asked if "If-None-Match" not in each.headers]

    def add(self, made: tuple[str, bytes]) -> None:
        """Puts a wheel up."""
        self.wheels[made[0]] = made[1]

    def answer(self, request: Request) -> Answer:
        if self.login is not None:
            wanted = f"Basic {base64.b64encode(self.login.encode()).decode()}"
            if request.headers.get("Authorization") != wanted:
                return Answer(code=401, headers={"WWW-Authenticate": 'Basic realm="index"'})
        parts = request.path.strip("/").split("/")
        if parts[0] == "files" and parts[-1] in self.wheels:
            tag = f'"{hashlib.sha256(self.wheels[parts[-1]]).hexdigest()}"'
            if request.headers.get("If-None-Match") == tag:
                return Answer(code=304, headers={"ETag": tag})
            return Answer(self.wheels[parts[-1]], headers={"ETag": tag})
        project = parts[-1].replace("-", "_")
        found = [name for name in self.wheels if name.split("-")[0] == project]
        if parts[0] != "simple" or not found:
            return Answer(code=404)
        links = "".join(f'<a href="/files/{name}">{name}</a>' for name in found)
        page = f"<!DOCTYPE html><html><body>{links}</body></html>"
        return Answer(page.encode(), headers={"Content-Type": "text/html"})


@contextlib.contextmanager
def package_index(address: str = "127.0.0.1") -> Iterator[Index]:
    """Serves an index until the block ends."""
    found: list[Index] = []
    with serving(lambda request: found[0].answer(request), address) as served:
        found.append(Index(served))
        yield found[0]
