"""Options that several commands share, and what makes a function a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from runyard.cli.session import Session, Target

_Command = TypeVar("_Command", bound=Callable[..., Any])

EXIT_CODES: Final = """Exit codes of --wait and status -w: 0 Succeeded, 1 Failed (or any error),
2 wrong usage, 3 Cancelled, 124 the timeout passed, 130 interrupted."""
PLAN_EXIT_CODES: Final = """Exit codes: 0 the plan is good and no other than what exists, 1 it
differs from what exists, 2 wrong usage, 4 the plan failed (or any error), 124 the timeout
passed."""


class Seconds(click.ParamType[float]):
    """A duration such as 90s, 10m or 1h30m, as a number of seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        from runyard.cli.times import parse_duration

        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def target_options(command: _Command) -> _Command:
    """The options about the cluster, which may stand before the command and after it."""
    for option in (
        click.option(
            "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
        ),
        click.option("--kubeconfig", metavar="FILE", help="Kubeconfig, in place of $KUBECONFIG."),
        click.option("--context", "kube_context", metavar="NAME", help="Kubeconfig context."),
        click.option("-n", "--namespace", metavar="NAME", help="Namespace, not the context's."),
    ):
        command = option(command)
    return command


def runs(command: Callable[..., int]) -> click.Command:
    """Makes a function a command that gets a Session; what it returns is the exit code."""

    @target_options
    @click.pass_context
    def run(
        context: click.Context,
        /,
        namespace: str | None,
        kube_context: str | None,
        kubeconfig: str | None,
        **options: Any,
    ) -> None:
        target = Target(namespace, kube_context, kubeconfig).over(context.obj)
        context.exit(command(Session(target), **options))

    # click keeps the options of the decorators below on the function.
    run.__click_params__ = [  # type: ignore[attr-defined]
        *run.__click_params__,  # type: ignore[attr-defined]
        *getattr(command, "__click_params__", []),
    ]
    return click.command(name=command.__name__, help=command.__doc__, epilog=_epilog(command))(run)


def _epilog(command: Callable[..., int]) -> str | None:
    if command.__name__ == "plan":
        return PLAN_EXIT_CODES
    return EXIT_CODES if command.__name__ in ("apply", "status", "cancel", "rerun") else None


wait_timeout = click.option(
    "--timeout", type=Seconds(), metavar="TIME", help="Longest wait: 90s, 10m, 1h30m."
)
experiment = click.argument("name", metavar="EXPERIMENT")
tasks = click.argument("tasks", metavar="[TASK]...", nargs=-1)
task = click.argument("task", metavar="TASK")
message = click.option("-m", "--message", default="", metavar="TEXT", help="Why.")
params = click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A value in place of that in spec.params; may be given repeatedly.",
)
