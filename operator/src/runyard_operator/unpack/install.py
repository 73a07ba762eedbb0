"""Installs a task's packages, in the task's own image: a program of its own, run by its python3.

It is copied next to pip by the first init container, so it imports nothing of Runyard, and keeps to
what Python 3.10 has. What the image has already and fits is not installed again: a task that asks
for a small package does not get a second torch with it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

REQUIREMENTS = "RUNYARD_REQUIREMENTS"
"""Environment variable: a JSON list of requirements."""
TARGET = "RUNYARD_PACKAGES"
"""Environment variable: the folder that the packages go to."""
CACHE = "RUNYARD_PACKAGES_CACHE"
"""Environment variable: the folder of installed sets, or unset."""
INDEX = "PIP_INDEX_URL"
EXTRA = "PIP_EXTRA_INDEX_URL"

_MAX_LINE = 900
_LOCK_MODE = 0o666
_AWAY = re.compile(
    r"NewConnectionError|Connection refused|Name or service not known|No route to host|"
    r"Temporary failure in name resolution|ConnectTimeoutError|Network is unreachable|"
    r"ReadTimeoutError|Failed to resolve|Connection reset|RemoteDisconnected|timed out"
)
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")


class InstallError(Exception):
    """The packages cannot be installed; the message is for the user."""


def key_of(requirements: Sequence[str], environ: Mapping[str, str], have: Sequence[str]) -> str:
    """The name of an installed set: what was asked for, from where, for which Python and image.

    `have` is what the image has. Credentials of an index are not part of it.
    """
    parts = {
        "requirements": sorted(requirements),
        "index": without_credentials(environ.get(INDEX, "")),
        "extra": [without_credentials(each) for each in environ.get(EXTRA, "").split()],
        "python": platform.python_version(),
        "abi": str(sysconfig.get_config_var("SOABI")),
        "machine": platform.machine(),
        "have": sorted(have),
    }
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def without_credentials(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def installed() -> list[str]:
    """Names and versions of what the image has."""
    found = importlib.metadata.distributions()
    return [f"{each.metadata['Name']}=={each.version}" for each in found]


def secrets_of(environ: Mapping[str, str]) -> list[str]:
    """What must not be printed: users and passwords in the addresses of the indexes."""
    found = []
    for url in (environ.get(INDEX, ""), *environ.get(EXTRA, "").split()):
        info = urlsplit(url).netloc.rpartition("@")[0]
        if info:
            found += [info, info.partition(":")[2]]
    return sorted(filter(None, found), key=len, reverse=True)


class Pip:
    """pip, as it lies beside this file, run by the image's Python with its folder `work`."""

    def __init__(self, environ: Mapping[str, str], work: str) -> None:
        self.work = work
        self._secrets = secrets_of(environ)
        here = os.path.dirname(os.path.abspath(__file__))
        urls = [environ.get(INDEX, ""), *environ.get(EXTRA, "").split()]
        # pip leaves out an index without TLS unless its host is trusted; who names one means it.
        plain = [urlsplit(url).netloc.rpartition("@")[2] for url in urls if url[:5] == "http:"]
        trusted = " ".join([environ.get("PIP_TRUSTED_HOST", ""), *plain]).strip()
        self._environ = {
            **environ,
            "PYTHONPATH": here,
            "HOME": work,
            "TMPDIR": os.path.join(work, "tmp"),
            "PIP_CACHE_DIR": os.path.join(work, "cache"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "PIP_DEFAULT_TIMEOUT": environ.get("PIP_DEFAULT_TIMEOUT", "20"),
            "PIP_RETRIES": environ.get("PIP_RETRIES", "2"),
            **({"PIP_TRUSTED_HOST": trusted} if trusted else {}),
        }
        os.mkdir(self._environ["TMPDIR"])

    def run(self, *arguments: str) -> None:
        """Runs pip, its words printed without credentials.

        Raises:
            InstallError: it failed; with its own reason.
        """
        command = [sys.executable, "-m", "pip", "install", "--progress-bar=off", *arguments]
        process = subprocess.Popen(
            command, env=self._environ, cwd=self.work, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        errors: list[str] = []
        away = False
        for line in process.stdout or ():
            line = self._redacted(line.rstrip())
            print(line, flush=True)
            away = away or bool(_AWAY.search(line))
            if line.startswith("ERROR:"):
                errors.append(line.removeprefix("ERROR:").strip())
        if process.wait() != 0:
            said = "; ".join(errors[-4:]) or f"pip ended with {process.returncode}"
            index = without_credentials(self._environ.get(INDEX, "")) or "https://pypi.org/simple"
            hint = f"the package index {index} cannot be reached: " if away else ""
            raise InstallError(f"{hint}{said}"[:_MAX_LINE])

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _USER_INFO.sub("***@", text)


def install(requirements: Sequence[str], pip: Pip, target: str) -> None:
    """Installs into the folder `target` what the image lacks; the folder is there afterwards.

    Raises:
        InstallError: see `Pip.run`.
    """
    asked = os.path.join(pip.work, "requirements.txt")
    write(asked, requirements)
    report = os.path.join(pip.work, "report.json")
    # Nothing of the image changes: its marker that says so need not stop this.
    pip.run("--dry-run", "--break-system-packages", "--quiet", "--report", report, "-r", asked)
    with open(report, encoding="utf-8") as file:
        lines = pinned(json.load(file)["install"])
    os.makedirs(target, exist_ok=True)
    if not lines:
        print("runyard: the image has all of it already", flush=True)
        return
    exact = os.path.join(pip.work, "exact.txt")
    write(exact, lines)
    pip.run("--no-deps", "--no-warn-script-location", "--target", target, "-r", exact)


def pinned(chosen: Sequence[Mapping[str, Any]]) -> list[str]:
    """What pip's resolver chose, as requirements of exactly that; with hashes where all have one.

    Source: https://pip.pypa.io/en/stable/reference/installation-report/
    """
    found = []
    for each in chosen:
        name, where = each["metadata"]["name"], each["download_info"]
        if each.get("is_direct"):
            found.append((f"{name} @ {_direct(where)}", None))
        else:
            digest = (where.get("archive_info") or {}).get("hashes", {}).get("sha256")
            found.append((f"{name}=={each['metadata']['version']}", digest))
    if all(digest for _, digest in found):
        return [f"{text} --hash=sha256:{digest}" for text, digest in found]
    return [text for text, _ in found]


def _direct(where: Mapping[str, Any]) -> str:
    url: str = where["url"]
    vcs = where.get("vcs_info")
    if vcs:
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    return f"{url}#subdirectory={where['subdirectory']}" if where.get("subdirectory") else url


def write(path: str, lines: Sequence[str]) -> None:
    """Writes lines that may hold credentials."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(f"{line}\n" for line in lines)


@contextlib.contextmanager
def workplace(beside: str, key: str = "") -> Iterator[str]:
    """A folder of this process's own in `beside`; it is gone afterwards."""
    folder = os.path.join(beside, f".installing-{key}-{secrets.token_hex(8)}")
    os.makedirs(folder, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def alone(path: str) -> Iterator[bool]:
    """One process at a time; a lock ends with its holder. False where there are no locks."""
    with open(os.open(path, os.O_RDWR | os.O_CREAT, _LOCK_MODE)) as file:
        with contextlib.suppress(OSError):
            os.chmod(path, _LOCK_MODE)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as problem:
            # Two then install the same beside each other, and that of the first one to end is kept.
            if problem.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                raise
            yield False
            return
        yield True


def from_cache(
    requirements: Sequence[str], environ: Mapping[str, str], cache: str, key: str
) -> str:
    """The folder of the installed set in the cache, made when it is not there.

    Raises:
        InstallError: see `install`, or the cache cannot be written.
    """
    place = os.path.join(cache, key)
    if os.path.isdir(place):
        print(f"runyard: the packages are in the cache as {key}", flush=True)
        return place
    try:
        with alone(os.path.join(cache, f".{key}.lock")) as locked:
            if os.path.isdir(place):
                print(f"runyard: another pod has just installed {key}", flush=True)
                return place
            for name in os.listdir(cache) if locked else []:
                if name.startswith(f".installing-{key}-"):
                    # Of a pod that was killed: it held the lock.
                    shutil.rmtree(os.path.join(cache, name), ignore_errors=True)
            with workplace(cache, key) as work:
                made = os.path.join(work, "made")
                install(requirements, Pip(environ, work), made)
                _keep(made, place)
    except PermissionError as problem:
        raise InstallError(
            f"the claim of packages.cache cannot be written by user {os.geteuid()}"
            f" ({problem.strerror}): let the task run as a user who may, or set fsGroup"
        ) from problem
    return place


def _keep(made: str, place: str) -> None:
    try:
        os.rename(made, place)
    except OSError as problem:
        if problem.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


def main(environ: Mapping[str, str]) -> int:
    """0 when the packages are in place, else 1 with the reason as the last line on stderr."""
    os.umask(0o022)
    requirements, target = json.loads(environ[REQUIREMENTS]), environ[TARGET]
    cache = environ.get(CACHE)
    try:
        if cache:
            key = key_of(requirements, environ, installed())
            place = from_cache(requirements, environ, cache, key)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target)
            os.symlink(place, target)
        else:
            shutil.rmtree(target, ignore_errors=True)
            with workplace(os.path.dirname(target)) as work:
                install(requirements, Pip(environ, work), target)
    except (InstallError, OSError) as problem:
        said = " ".join(str(problem).split())
        print(f"runyard: the packages cannot be installed: {said}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
