"""Reads where this machine gets its Debian packages from, so that images use the same mirror."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from testbed.build.errors import BuildError

_USABLE = ("http://", "https://", "file:", "copy:", "ftp://", "mirror+")


@dataclass(frozen=True, slots=True)
class Source:
    """One place of binary packages: an address with one suite."""

    uri: str
    suite: str
    components: tuple[str, ...]
    # The path of the keyring that signs it; empty for apt's own set of keys.
    signed_by: str = ""


def parse_list(text: str) -> list[Source]:
    """Read the one-line format: ``deb [options] URI SUITE COMPONENT...``."""
    sources = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match:
            options, uri, suite, components = match.groups()
            signed = re.search(r"signed-by=(\S+)", options or "", re.IGNORECASE)
            keyring = signed[1] if signed else ""
            sources.append(Source(uri, suite, tuple(components.split()), _keyring(keyring)))
    return sources


def parse_deb822(text: str) -> list[Source]:
    """Read the format of ``.sources`` files: stanzas of fields, several values in each."""
    sources = []
    for fields in _stanzas(text):
        enabled = fields.get("enabled", "yes").strip().lower() not in ("no", "false", "0")
        if not enabled or "deb" not in fields.get("types", "").split():
            continue
        components = tuple(fields.get("components", "").split())
        keyring = _keyring(fields.get("signed-by", ""))
        sources += [
            Source(uri, suite, components, keyring)
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return sources


def read(etc_apt: Path = Path("/etc/apt")) -> list[Source]:
    """Read all of a machine's sources, in apt's order."""
    folder = etc_apt / "sources.list.d"
    files = [etc_apt / "sources.list", *(sorted(folder.iterdir()) if folder.is_dir() else [])]
    sources = []
    for path in files:
        if path.suffix == ".sources":
            sources += parse_deb822(path.read_text())
        elif path.suffix == ".list" and path.is_file():
            sources += parse_list(path.read_text())
    return sources


def mirror(sources: Iterable[Source], codename: str) -> Source:
    """Return the source that serves Debian itself: the machine's release, component main.

    Raises BuildError when none of the sources does.
    """
    usable = [
        source
        for source in sources
        if "main" in source.components and source.uri.startswith(_USABLE)
    ]
    for wanted in ((codename,), ("stable", "oldstable", "testing")):
        for source in usable:
            if source.suite in wanted:
                return source
    raise BuildError(
        f"no apt source of this machine serves {codename}/main, from which images could be made: "
        "add Debian's mirror to /etc/apt/sources.list"
    )


def codename(os_release: Path = Path("/etc/os-release")) -> str:
    """Return the machine's release name, such as bookworm; empty when it is not said."""
    match = re.search(r'^VERSION_CODENAME="?([^"\n]+)', os_release.read_text(), re.MULTILINE)
    return match[1] if match else ""


def _stanzas(text: str) -> Iterable[dict[str, str]]:
    for block in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t"):
                fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if fields:
            yield fields


def _keyring(value: str) -> str:
    """Keep a keyring given by its path; keys given inline or by fingerprint are left to apt."""
    return value.strip() if value.strip().startswith("/") else ""
