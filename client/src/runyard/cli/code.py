"""The commands about code: what a folder becomes, and what of it is in the cluster."""

from __future__ import annotations

from pathlib import Path

import click

from runyard.cli import options
from runyard.cli.session import Session


class Size(click.ParamType[int]):
    """A number of bytes such as 500MB, 2GB or 1000."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip()
        for suffix, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3), ("B", 1), ("", 1)):
            number = text.removesuffix(suffix)
            if text.endswith(suffix) and number.isdecimal():
                return int(number) * factor
        self.fail(f"{text!r} is not a size: say 500MB, 2GB or a number of bytes", param, ctx)


@options.runs
@click.argument(
    "folder",
    metavar="[DIR]",
    default=".",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--allow-secrets", is_flag=True, help="Also take files that look like keys.")
@click.option(
    "--max-size",
    type=Size(),
    default="500MB",
    show_default=True,
    metavar="SIZE",
    help="Most that the files may take, uncompressed.",
)
@click.option(
    "--store-namespace",
    default="runyard-system",
    show_default=True,
    envvar="RUNYARD_STORE_NAMESPACE",
    metavar="NAME",
    help="Where Runyard's code store is, for code beyond 3 MB.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    help="The form of the fragment that is printed.",
)
def push(
    session: Session,
    folder: Path,
    allow_secrets: bool,
    max_size: int,
    store_namespace: str,
    output: str,
) -> int:
    """Put the code of a folder into the cluster, and print what an experiment says of it.

    Takes the files that git knows or would add (all files outside of a work tree), less those of
    .runyardignore. What is there already is not sent again.
    """
    from runyard.cli.pushing import run_push

    return run_push(
        session,
        folder,
        allow_secrets=allow_secrets,
        max_size=max_size,
        store_namespace=store_namespace,
        output=output,
    )


@options.runs
@click.option("-o", "--output", type=click.Choice(["json"]), help="Print the facts as JSON.")
def list_(session: Session, output: str | None) -> int:
    """List the bundles of the namespace, and how many experiments own each."""
    from runyard.cli.pushing import run_list

    return run_list(session, output=output)


@options.runs
def prune_dry(session: Session) -> int:
    """Show which bundles the operator will delete, and when: those that nothing owns."""
    from runyard.cli.pushing import run_prune_dry

    return run_prune_dry(session)


@click.group()
def code() -> None:
    """Put code into the cluster, and see what is there."""


code.add_command(push, "push")
code.add_command(list_, "list")
code.add_command(prune_dry, "prune-dry")

ALL = (code,)
