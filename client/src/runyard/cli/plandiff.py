"""What differs between two plans of an experiment, as a unified diff. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from runyard import readable
from runyard.kube.client import Object
from runyard.redact import Redactor, secret_values

SPEC: Final = "experiment"
PROFILES: Final = "profiles"
HIDDEN: Final = "values that are not shown, since they look like secrets, differ too"


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan: the spec and the profiles that it is of, and a text for each task."""

    spec: Object
    profiles: Sequence[Object] = ()
    texts: Mapping[str, str] = field(default_factory=dict)


def diff(name: str, before: Planned, after: Planned) -> list[str]:
    """Lines from the running version to the planned one; none where they are the same."""
    old, new = _documents(before), _documents(after)
    lines: list[str] = []
    for key in [*new, *(each for each in old if each not in new)]:
        lines += difflib.unified_diff(
            old.get(key, "").splitlines(),
            new.get(key, "").splitlines(),
            f"running/{name}/{key}",
            f"planned/{name}/{key}",
            lineterm="",
        )
    if _hidden(before, after):
        lines.append(f"# {HIDDEN}")
    return lines


def _documents(plan: Planned) -> dict[str, str]:
    redactor = Redactor(secret_values(plan.spec))
    documents: dict[str, Any] = {SPEC: plan.spec}
    if plan.profiles:
        documents[PROFILES] = list(plan.profiles)
    shown = {key: readable.dump(redactor.document(each)) for key, each in documents.items()}
    return {**{f"{key}.yaml": text for key, text in shown.items()}, **plan.texts}


def _hidden(before: Planned, after: Planned) -> bool:
    """Whether secrets differ, which are written alike."""
    return list(secret_values([before.spec, *before.profiles])) != list(
        secret_values([after.spec, *after.profiles])
    )
