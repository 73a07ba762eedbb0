"""Objects as they are kept: thousands of them say the same few words."""

from __future__ import annotations

import sys
from typing import Any, Final

from runyard_operator.kube.api import Object

MAX_WORD: Final = 32


def compact(obj: Object) -> Object:
    """A copy without managedFields, whose field names and words are shared with all others.

    managedFields are a half of a small object and of no use here; the names of the fields are the
    half of the rest, and each decoded object brings its own copy of them.
    """
    found: Object = _share(obj)
    found["metadata"].pop("managedFields", None)
    return found


def _share(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {sys.intern(key): _share(each) for key, each in value.items()}
    if kind is list:
        return [_share(each) for each in value]
    if kind is str and len(value) <= MAX_WORD and value.isalpha():
        return sys.intern(value)
    return value
