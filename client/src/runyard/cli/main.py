"""The entry point: commands and options. What a command needs is imported when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from runyard.cli.session import Session, Target

_Command = TypeVar("_Command", bound=Callable[..., Any])

_EXIT_CODES = """Exit codes of --wait and status -w: 0 Succeeded, 1 Failed (or any error),
2 wrong usage, 3 Cancelled, 124 the timeout passed, 130 interrupted."""


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


def _target_options(command: _Command) -> _Command:
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


def _command(command: Callable[..., int]) -> click.Command:
    """Makes a function a command that gets a Session; what it returns is the exit code."""

    @_target_options
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
    return _EXIT_CODES if command.__name__ in ("apply", "status", "cancel") else None


_wait_timeout = click.option(
    "--timeout", type=Seconds(), metavar="TIME", help="Longest wait: 90s, 10m, 1h30m."
)
_experiment = click.argument("name", metavar="EXPERIMENT")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EXIT_CODES,
)
@_target_options
@click.pass_context
def app(
    context: click.Context,
    /,
    namespace: str | None,
    kube_context: str | None,
    kubeconfig: str | None,
) -> None:
    """Run machine-learning experiments as Kubernetes resources."""
    context.obj = Target(namespace, kube_context, kubeconfig)


@app.add_command
@_command
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    required=True,
    metavar="FILE|-|DIR",
    help="What to apply; may be given repeatedly.",
)
@click.option("--wait", is_flag=True, help="Follow the experiments to their end.")
@_wait_timeout
@click.option("--force-conflicts", is_flag=True, help="Take over fields that others have set.")
def apply(
    session: Session,
    files: tuple[str, ...],
    wait: bool,
    timeout: float | None,
    force_conflicts: bool,
) -> int:
    """Create or change the objects of files, and wait if asked to.

    The exit code of --wait says how the experiment ended; if it failed, the failed tasks are
    shown with the reason, the exit code and the last log lines.
    """
    from runyard.cli.apply import run

    if timeout is not None and not wait:
        raise click.UsageError("--timeout goes with --wait only")
    return run(session, files, wait=wait, timeout=timeout, force_conflicts=force_conflicts)


@app.add_command
@_command
@click.argument("name", metavar="[EXPERIMENT]", required=False)
@click.option("-w", "--watch", is_flag=True, help="Follow it to its end.")
@click.option("--members", is_flag=True, help="Show the members of matrices, too.")
@click.option(
    "-o", "--output", type=click.Choice(["json", "yaml"]), help="Print the objects themselves."
)
@click.option(
    "-A", "--all-namespaces", "everywhere", is_flag=True, help="List those of all namespaces."
)
@click.option("--svg", type=click.Path(path_type=Path), hidden=True)
def status(
    session: Session,
    name: str | None,
    watch: bool,
    members: bool,
    output: str | None,
    everywhere: bool,
    svg: Path | None,
) -> int:
    """Show an experiment's tasks, or list the experiments.

    With -w the exit code says how the experiment ended.
    """
    from runyard.cli.status import run_list, run_one

    if watch and output is not None:
        raise click.UsageError("--watch and --output do not go together")
    if name is None:
        if watch or svg is not None:
            raise click.UsageError("name the experiment to watch")
        return run_list(session, every_namespace=everywhere, output=output)
    if everywhere:
        raise click.UsageError("--all-namespaces lists: leave out the name, or name -n")
    return run_one(session, name, watch=watch, members=members, output=output, svg=svg)


@app.add_command
@_command
@_experiment
@click.argument("task", metavar="[TASK]", required=False)
@click.option("-f", "--follow", is_flag=True, help="Wait for pods and for more lines, to the end.")
@click.option("--rank", type=click.IntRange(min=0), help="Only this node of a training job.")
@click.option("--tail", type=click.IntRange(min=0), help="Only the last lines of each pod.")
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
def logs(
    session: Session,
    name: str,
    task: str | None,
    follow: bool,
    rank: int | None,
    tail: int | None,
    timestamps: bool,
) -> int:
    """Print what the tasks write, on all their nodes.

    With more than one source each line begins with the task and the rank it comes from.
    """
    from runyard.cli.logs import Wanted, run

    return run(session, Wanted(name, task, rank, tail, timestamps), follow=follow)


@app.add_command
@_command
@_experiment
@click.option("--wait", is_flag=True, help="Wait until everything has ended.")
@_wait_timeout
def cancel(session: Session, name: str, wait: bool, timeout: float | None) -> int:
    """End what runs and skip what waits; the experiment stays."""
    from runyard.cli import actions

    return actions.cancel(session, name, wait=wait, timeout=timeout)


@app.add_command
@_command
@_experiment
@click.option("--wait", is_flag=True, help="Wait until it is gone.")
@_wait_timeout
def delete(session: Session, name: str, wait: bool, timeout: float | None) -> int:
    """Delete an experiment and all that was made for it.

    Its running jobs are ended first.
    """
    from runyard.cli import actions

    return actions.delete(session, name, wait=wait, timeout=timeout)


@app.add_command
@_command
@click.option("--client", is_flag=True, help="Do not ask the cluster.")
def version(session: Session, client: bool) -> int:
    """Print the versions of program, cluster and operator."""
    from runyard.cli import actions

    return actions.version(session, client_only=client)


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character gets a question mark, not a traceback.
        reconfigure: Callable[..., Any] | None = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    program = Path(sys.argv[0]).name
    sys.exit(run_guarded("kubectl runyard" if program.startswith("kubectl-") else "runyard"))


def run_guarded(program: str) -> int:
    """Runs the command; every expected error becomes a message and an exit code."""
    from runyard.cli.errors import FAILED, INTERRUPTED, CliError, explain
    from runyard.kube.errors import KubeError

    try:
        code = app(prog_name=program, standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (CliError, KubeError) as error:
        if "--debug" in sys.argv:  # wherever it stood
            raise
        said = error if isinstance(error, CliError) else explain(error)
        sys.stderr.write(f"error: {said}\n" + (f"{said.hint}\n" if said.hint else ""))
        return said.code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has gone: say nothing more, not even when Python flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED


if __name__ == "__main__":
    main()
