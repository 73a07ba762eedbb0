"""YAML for people: scripts as blocks, no anchors, the order of the fields kept."""

from __future__ import annotations

from typing import Any, Final

import yaml

_WIDTH: Final = 100


class _Dumper(yaml.SafeDumper):
    """Every object can be read by itself."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump(document: Any) -> str:
    """The document as YAML, ended by a line feed."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
