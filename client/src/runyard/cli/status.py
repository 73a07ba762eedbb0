"""`runyard status`: one experiment's table, the list of all, or the objects themselves."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from runyard.cli import layout, paint, view
from runyard.cli.cells import Line
from runyard.cli.errors import CliError, not_found
from runyard.cli.session import Session
from runyard.kube.client import EXPERIMENTS, UNITS, KubeClient, Object

_LIST_HEAD = ("NAME", "PHASE", "DONE", "REASON", "AGE", "DURATION")
_LIST_LEAST = (16, 8, 4, 12, 4, 8)
_NAMESPACE_LEAST = 12
_MAX_MEMBERS = 1000


def run_one(
    session: Session,
    name: str,
    *,
    watch: bool,
    members: bool,
    output: str | None,
    svg: Path | None,
) -> int:
    """Shows one experiment; its exit code is 0 unless it is watched, then it says how it ended."""
    client = session.connect()
    experiment = client.find(EXPERIMENTS, client.namespace, name)
    if experiment is None:
        raise not_found(client, name)
    if watch and not svg:
        from runyard.cli.follow import follow

        return follow(session, client, name, members=members)[1]
    if output is not None:
        _print_objects(session, [experiment, *experiment_units(client, experiment)], output)
        return 0
    units = telling_units(client, experiment)
    current = view.build(experiment, units, session.now(), members=members)
    if svg is not None:
        _export(layout.experiment(current, 80), svg, f"runyard status {name}")
        return 0
    lines = layout.experiment(current, session.width)
    session.out.write(paint.text(lines, colour=session.colour))
    return 0


def run_list(session: Session, *, every_namespace: bool, output: str | None) -> int:
    """Lists the experiments of the namespace, or of all."""
    client = session.connect()
    found = client.list_objects(EXPERIMENTS, None if every_namespace else client.namespace)
    if output is not None:
        _print_objects(session, found, output)
        return 0
    if not found:
        where = "in any namespace" if every_namespace else f"in namespace {client.namespace!r}"
        session.note(f"there is no experiment {where}")
        return 0
    lines = listing(found, session.now(), session.width, namespaces=every_namespace)
    session.out.write(paint.text(lines, colour=session.colour))
    return 0


def listing(
    experiments: list[Object], now: datetime, width: int | None, *, namespaces: bool
) -> list[Line]:
    """The table of experiments."""
    rows = []
    for namespace, name, phase, *rest in view.summaries(experiments, now):
        cells = [(name, ""), layout.phase_cell(phase), *((text, "") for text in rest)]
        rows.append([(namespace, ""), *cells] if namespaces else cells)
    if namespaces:
        head = ("NAMESPACE", *_LIST_HEAD)
        return layout.table(head, rows, width, (_NAMESPACE_LEAST, *_LIST_LEAST), (4, 1, 0))
    return layout.table(_LIST_HEAD, rows, width, _LIST_LEAST, (3, 0))


def experiment_units(client: KubeClient, experiment: Object) -> list[Object]:
    """All units that the operator made for the experiment."""
    metadata = experiment["metadata"]
    units = client.list_objects(
        UNITS, metadata["namespace"], f"{view.LABEL_EXPERIMENT}={metadata['name']}"
    )
    return [dict(each) for each in view.own_units(experiment, units)]


def telling_units(client: KubeClient, experiment: Object) -> list[Object]:
    """The units that the table needs: of a large matrix only those that its record does not tell.

    The members that Succeeded may be thousands; of a thousand that run the picture is clear.
    """
    metadata, spec = experiment["metadata"], experiment.get("spec") or {}
    tasks = [*(spec.get("tasks") or []), *(spec.get("finally") or [])]
    found = []
    chosen = view.selectors(metadata["name"], matrix=any(each.get("matrix") for each in tasks))
    for selectors in chosen.values():
        units, _ = client.list_versioned(UNITS, metadata["namespace"], selectors, _MAX_MEMBERS)
        found += units
    return found


def _print_objects(session: Session, items: list[Object], output: str) -> None:
    """A List of the objects, without the field managers' book-keeping."""
    for each in items:
        each["metadata"].pop("managedFields", None)
    document: dict[str, Any] = {"apiVersion": "v1", "kind": "List", "items": items}
    if output == "json":
        session.say(json.dumps(document, indent=2))
        return
    import yaml

    session.out.write(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def _export(lines: list[Line], path: Path, title: str) -> None:
    """The table as an SVG picture."""
    import io

    from rich.console import Console
    from rich.terminal_theme import MONOKAI

    console = Console(
        record=True, width=80, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(paint.rich_text(lines))
    # Rich's own template loads a font from the web: a picture in a document should not.
    picture = console.export_svg(title=title, theme=MONOKAI, code_format=_SVG)
    try:
        path.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror}") from error


_SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}"
 xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: arial, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
