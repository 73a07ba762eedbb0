"""Takes secrets out of what is shown. Pure.

A name decides: the value of a variable or parameter whose name looks like that of a secret is
hidden, and so is every other place in which that very value occurs. References to Secrets stay:
they name the secret and do not tell it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

HIDDEN: Final = "(redacted)"
_SHORTEST: Final = 6
"""Characters of a value that is hunted for elsewhere; shorter ones occur by chance."""
_WORD: Final = re.compile(
    r"(TOKEN|SECRETS?|PASSWORDS?|PASSWD|PASSPHRASE|KEYS?|CREDENTIALS?|AUTH)$", re.IGNORECASE
)
_SEPARATORS: Final = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")
_REFERENCE: Final = re.compile(r"\$\{[^}]*\}|\$\([^)]*\)")
_IN_URL: Final = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")
_FLAG: Final = re.compile(r"(--?[A-Za-z][-\w.]*)(?:=(.+))?", re.DOTALL)


def looks_secret(name: str) -> bool:
    """Whether one of the name's words ends like HF_TOKEN, apiKey or DB_PASSWORD do."""
    return any(_WORD.search(word) for word in _SEPARATORS.split(name))


def secret_values(document: Any) -> Iterator[str]:
    """The values in `document` that stand beside a `name` which looks like a secret's."""
    if isinstance(document, Mapping):
        if _names_secret(document):
            yield document["value"]
        for each in document.values():
            yield from secret_values(each)
    elif isinstance(document, list):
        for each in document:
            yield from secret_values(each)


class Redactor:
    """Hides secrets in documents and texts; those of `values` are hidden wherever they are."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        known = {each for each in values if len(each) >= _SHORTEST}
        # The longest first: one value may be a part of another one.
        ordered = sorted(known, key=lambda each: (-len(each), each))
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def text(self, text: str) -> str:
        """The text without known values and without passwords in URLs."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        return _IN_URL.sub(rf"\1{HIDDEN}@", text)

    def document(self, document: Any) -> Any:
        """A copy of a JSON document without secrets; its form stays."""
        if isinstance(document, str):
            return self.text(document)
        if isinstance(document, list):
            return self._items(document)
        if not isinstance(document, Mapping):
            return document
        if document.get("kind") == "Secret":
            document = {
                key: dict.fromkeys(value, HIDDEN) if key in ("data", "stringData") else value
                for key, value in document.items()
            }
        hidden = {"value": HIDDEN} if _names_secret(document) else {}
        return {**{key: self.document(value) for key, value in document.items()}, **hidden}

    def _items(self, items: list[Any]) -> list[Any]:
        """A list; in a command, `--token=X` and `--token X` lose the X."""
        found: list[Any] = []
        follows = False
        for each in items:
            flag = _FLAG.fullmatch(each) if isinstance(each, str) else None
            if follows and isinstance(each, str) and flag is None:
                found.append(each if _REFERENCE.fullmatch(each) else HIDDEN)
                follows = False
                continue
            secret = flag is not None and looks_secret(flag[1])
            if flag is not None and secret and flag[2] and not _REFERENCE.fullmatch(flag[2]):
                found.append(f"{flag[1]}={HIDDEN}")
            else:
                found.append(self.document(each))
            follows = secret and flag is not None and flag[2] is None
        return found


def _names_secret(document: Mapping[str, Any]) -> bool:
    """Whether this is a `{name, value}` that holds a secret, and no reference to another place."""
    name, value = document.get("name"), document.get("value")
    return (
        isinstance(name, str)
        and isinstance(value, str)
        and bool(value)
        and value != HIDDEN
        and looks_secret(name)
        and not _REFERENCE.fullmatch(value)
    )
