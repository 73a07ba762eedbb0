"""Objects as they are kept: thousands of them say the same few words."""

from __future__ import annotations

from sys import intern as _intern
from typing import Any, Final

from runyard_operator.kube.api import Object

MAX_WORD: Final = 32


def compact(obj: Object) -> Object:
    """A copy without managedFields, whose field names and words are shared with all others.

    managedFields are a half of a small object and of no use here; the names of the fields are the
    half of the rest, and each decoded object brings its own copy of them.
    """
    metadata = {key: each for key, each in obj["metadata"].items() if key != "managedFields"}
    found: Object = _share({**obj, "metadata": metadata})
    return found


def _share(value: Any) -> Any:
    # Written for speed: each event of each watch comes through here.
    kind = type(value)
    if kind is str:
        return _intern(value) if len(value) <= MAX_WORD and value.isalpha() else value
    if kind is dict:
        return {_intern(key): _share(each) for key, each in value.items()}
    if kind is list:
        return [_share(each) for each in value]
    return value
