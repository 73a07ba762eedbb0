"""Credentials as a mounted Secret shows them: one file for each key."""

from __future__ import annotations

import base64
import os

from runyard_operator.unpack.problems import UnpackError

KEY_SSH = "ssh-privatekey"
KEY_HOSTS = "known_hosts"
KEY_USER = "username"
KEY_PASSWORD = "password"  # noqa: S105 - the name of the key, as Kubernetes has it
KEY_CA = "ca.crt"
KEY_TOKEN = "token"  # noqa: S105 - as above
_BYTES = 65536


class Secret:
    """The keys of a Secret that is mounted at `folder`; None stands for no Secret."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder

    def __bool__(self) -> bool:
        return self._folder is not None

    def text(self, key: str) -> str | None:
        """The value of a key, or None when there is no such key.

        Raises:
            UnpackError: it is too large or not text.
        """
        if self._folder is None:
            return None
        try:
            with open(os.path.join(self._folder, key), "rb") as file:
                content = file.read(_BYTES + 1)
            if len(content) > _BYTES:
                raise UnpackError(f"the key {key} of the Secret is too large")
            return content.decode()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            raise UnpackError(f"the key {key} of the Secret is not text") from None

    def line(self, key: str) -> str | None:
        """The same without the line's end that `kubectl --from-file` keeps.

        Raises:
            UnpackError: there is more than a line, which nobody means.
        """
        value = self.text(key)
        if value is None:
            return None
        value = value.rstrip("\r\n")
        if "\n" in value or "\r" in value or "\0" in value:
            raise UnpackError(f"the key {key} of the Secret has more than one line")
        return value

    def keys(self) -> list[str]:
        """The names of its keys."""
        if self._folder is None or not os.path.isdir(self._folder):
            return []
        return sorted(each for each in os.listdir(self._folder) if not each.startswith(".."))

    def authorization(self) -> str | None:
        """The header of that name: Bearer with a token, Basic with user and password.

        Raises:
            UnpackError: the Secret has neither.
        """
        if not self or self.keys() == [KEY_CA]:
            return None
        token = self.line(KEY_TOKEN)
        if token is not None:
            return f"Bearer {token}"
        user, password = self.line(KEY_USER), self.line(KEY_PASSWORD)
        if user is None or password is None:
            raise UnpackError(
                f"the Secret has the keys {', '.join(self.keys()) or 'none'}: it needs {KEY_TOKEN},"
                f" or {KEY_USER} and {KEY_PASSWORD}"
            )
        return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
