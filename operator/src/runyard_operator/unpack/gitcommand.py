"""git as a program of its own: with the credentials it may have, and nothing else of this machine.

No configuration of the system or the user is read, no hook is run, no protocol but https, http and
ssh is spoken. Credentials are never part of a command line or of a URL.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urlsplit

from runyard_operator.unpack.problems import UnpackError, Unreachable, one_line, redacted
from runyard_operator.unpack.secret import (
    KEY_CA,
    KEY_HOSTS,
    KEY_PASSWORD,
    KEY_SSH,
    KEY_USER,
    Secret,
)

_SCHEMES: Final = ("https", "http", "ssh")
_SCP: Final = re.compile(r"^[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:[^:]")
_SETTINGS: Final = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.askPass": "/bin/false",
    "credential.helper": "",
    "gc.auto": "0",
    "maintenance.auto": "false",
    # A server that goes silent is given up; one that is slow is waited for.
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    # The container has little memory: large files are streamed, and one thread is enough.
    "core.bigFileThreshold": "8m",
    "core.deltaBaseCacheLimit": "8m",
    "core.packedGitWindowSize": "8m",
    "core.packedGitLimit": "32m",
    "pack.threads": "1",
    "fetch.unpackLimit": "1",
    "advice.detachedHead": "false",
    "submodule.recurse": "false",
}
_NOISE: Final = re.compile(
    r"^(hint:|warning:|Cloning into|Submodule |From |and the repository exists|"
    r"Please make sure you have the correct access rights|Pseudo-terminal|\s*$)"
)
_AWAY: Final = re.compile(
    r"Could not resolve host|Temporary failure in name resolution|Failed to connect|"
    r"Connection (refused|reset|timed out|closed by)|timed out|Network is unreachable|"
    r"No route to host|returned error: (408|429|5\d\d)|too slow|early EOF|unexpected disconnect|"
    r"hung up unexpectedly|Empty reply from server|SSL_ERROR_SYSCALL|kex_exchange_identification|"
    r"gnutls_handshake|transfer closed",
    re.IGNORECASE,
)
_HINTS: Final = (
    (
        re.compile(r"Host key verification failed"),
        f"the server's key is not the one in {KEY_HOSTS} of the Secret: add the line that"
        " `ssh-keyscan HOST` prints, once you know that it is right",
    ),
    (
        re.compile(r"certificate (verification failed|problem)"),
        f"the server's certificate is from no authority that is known: put the authority's own into"
        f" the Secret as {KEY_CA}",
    ),
    (
        re.compile(r"Permission denied \("),
        f"the server does not take the key in {KEY_SSH} of the Secret: is it a deploy key of this"
        " repository?",
    ),
    (
        re.compile(r"could not read (Username|Password)|terminal prompts disabled"),
        "the repository is private, or does not exist: name a Secret in code.git.secret",
    ),
    (
        re.compile(r"Authentication failed|returned error: 40[13]"),
        "the server does not take the credentials in the Secret",
    ),
)


class GitError(UnpackError):
    """git did not do what it was asked for."""


class Git:
    """Runs git on the repository in `folder`, as whoever the Secret says.

    `keys` is a folder in memory for credentials: they are written there for this process's user
    alone.

    Raises:
        UnpackError: the URL or the Secret cannot be used; the message says why.
    """

    def __init__(self, url: str, secret: Secret, keys: str, *, folder: str = "/") -> None:
        self.url = checked(url)
        self.folder = folder
        self._secrets: list[str] = []
        self._settings = dict(_SETTINGS)
        self._env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": keys,
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": ":".join(_SCHEMES),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_SSH_VARIANT": "ssh",
            "GIT_SSH_COMMAND": shlex.join(self._ssh(secret, keys)),
        }
        for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "no_proxy", "NO_PROXY"):
            if name in os.environ:
                self._env[name] = os.environ[name]
        self._password(secret, keys)

    def _ssh(self, secret: Secret, keys: str) -> list[str]:
        key, hosts = secret.text(KEY_SSH), secret.text(KEY_HOSTS)
        if _is_ssh(self.url):
            _need_ssh(self.url, secret, key, hosts)
        self._secrets.append(key or "")
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "20",
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "4",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": _private(keys, KEY_HOSTS, hosts or ""),
            "GlobalKnownHostsFile": "/dev/null",
            "UpdateHostKeys": "no",
            "IdentitiesOnly": "yes",
            "IdentityFile": _private(keys, KEY_SSH, f"{(key or '').rstrip()}\n"),
            "PreferredAuthentications": "publickey",
            "LogLevel": "ERROR",
        }
        words = (word for name, value in options.items() for word in ("-o", f"{name}={value}"))
        return ["ssh", "-F", "/dev/null", *words]

    def _password(self, secret: Secret, keys: str) -> None:
        """Leaves the password for git's own helper, which gives it to this server alone."""
        if _is_ssh(self.url) or not secret:
            return
        parts = urlsplit(self.url)
        authority = secret.text(KEY_CA)
        if authority is not None:
            site = f"http.{parts.scheme}://{parts.netloc}/.sslCAInfo"
            self._settings[site] = _private(keys, KEY_CA, authority)
            if secret.keys() == [KEY_CA]:
                return
        password = secret.line(KEY_PASSWORD)
        if password is None:
            raise UnpackError(
                f"the Secret has the keys {', '.join(secret.keys()) or 'none'}: an https address"
                f" needs {KEY_PASSWORD} (a token goes there as well) and {KEY_USER}"
            )
        # Servers that take a token look at no name, and refuse an empty one.
        user = secret.line(KEY_USER) or "git"
        self._secrets += [password, quote(password, safe="")]
        line = (
            f"{parts.scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}\n"
        )
        place = _private(keys, "credentials", line)
        self._settings["credential.helper"] = f"store --file={shlex.quote(place)}"

    def run(self, *arguments: str, timeout: float = 900.0, check: bool = True) -> str:
        """What git prints; `check` makes its failure an error.

        Raises:
            Unreachable: the server was not reached, or not until the end.
            GitError: git failed for another reason, in its own words, without credentials.
        """
        options = [word for each in self._settings.items() for word in ("-c", "=".join(each))]
        code, out, err = _run(["git", *options, *arguments], self.folder, self._env, timeout)
        if code is None:
            raise Unreachable(f"{redacted(self.url)} did not answer within {timeout:.0f} s")
        if code and check:
            raise self._problem(arguments, err)
        return out

    def _problem(self, arguments: Sequence[str], err: str) -> UnpackError:
        lines = [line for line in err.splitlines() if not _NOISE.match(line)]
        said = one_line(redacted("; ".join(lines[-6:]), self._secrets))
        hint = next((f": {text}" for known, text in _HINTS if known.search(err)), "")
        text = f"git {arguments[0]} of {redacted(self.url)}{hint or ' failed'} ({said})"
        return (Unreachable if not hint and _AWAY.search(err) else GitError)(text)


def checked(url: str) -> str:
    """The URL, when it is one that may be fetched.

    Raises:
        UnpackError: another protocol, or credentials in it.
    """
    if _SCP.match(url):
        return url
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname or parts.hostname.startswith("-"):
        raise UnpackError(
            f"{redacted(url)}: only https://, http:// and ssh:// addresses, and user@host:path,"
            " can be fetched"
        )
    if parts.password is not None or (parts.username and parts.scheme != "ssh"):
        raise UnpackError(
            f"{redacted(url)} has credentials in it, which all who may read the experiment could"
            " see: put them into a Secret and name it in code.git.secret"
        )
    return url


def _is_ssh(url: str) -> bool:
    return not url.startswith(("https://", "http://"))


def _need_ssh(url: str, secret: Secret, key: str | None, hosts: str | None) -> None:
    have = ", ".join(secret.keys()) or "none"
    if key is None:
        raise UnpackError(
            f"{redacted(url)} needs a key: name a Secret with {KEY_SSH} and {KEY_HOSTS} in"
            f" code.git.secret (its keys now: {have})"
        )
    if not (hosts or "").strip():
        raise UnpackError(
            f"the Secret has no {KEY_HOSTS}, so nobody could tell whether the server is the right"
            f" one: add to the Secret a key {KEY_HOSTS} with the line that `ssh-keyscan HOST`"
            " prints, once you know that it is right"
        )


def _private(folder: str, name: str, content: str) -> str:
    """Writes a file that this user alone may read; returns where."""
    place = os.path.join(folder, name)
    if os.path.lexists(place):
        os.unlink(place)
    with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
    return place


def _run(
    command: Sequence[str], folder: str, env: dict[str, str], timeout: float
) -> tuple[int | None, str, str]:
    """Exit code (None: it took too long), standard output and error."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        # With the helpers that git has started, which would go on.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, "", ""
    return process.returncode, out, err
