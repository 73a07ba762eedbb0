"""`--param NAME=VALUE`: values in place of those in the file."""

from __future__ import annotations

from collections.abc import Sequence

from runyard.cli.errors import USAGE, CliError, suggestion
from runyard.cli.manifests import Manifest
from runyard.kube.client import EXPERIMENTS


def override(manifests: Sequence[Manifest], pairs: Sequence[str]) -> None:
    """Puts the values into `spec.params` of the experiments that have a parameter of the name.

    Raises:
        CliError: no experiment has such a parameter, or the text is no NAME=VALUE.
    """
    params = [
        param
        for manifest in manifests
        if manifest.kind == EXPERIMENTS.kind
        for param in (manifest.item.get("spec") or {}).get("params") or []
        if isinstance(param, dict)
    ]
    known = list(dict.fromkeys(str(param.get("name")) for param in params))
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise CliError(f"--param {pair}: write NAME=VALUE", code=USAGE)
        if name not in known:
            raise CliError(
                f"--param {pair}: no experiment has a parameter {name!r} in spec.params",
                suggestion(name, known) or (f"there are: {', '.join(known)}" if known else ""),
                USAGE,
            )
        for param in params:
            if param.get("name") == name:
                param["value"] = value
