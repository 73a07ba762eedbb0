"""The commands that start, plan and show experiments; what one needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from runyard.cli import options
from runyard.cli.session import Session


@options.runs
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
@options.wait_timeout
@click.option("--force-conflicts", is_flag=True, help="Take over fields that others have set.")
@options.params
def apply(
    session: Session,
    files: tuple[str, ...],
    wait: bool,
    timeout: float | None,
    force_conflicts: bool,
    params: tuple[str, ...],
) -> int:
    """Create or change the objects of files, and wait if asked to.

    The exit code of --wait says how the experiment ended; if it failed, the failed tasks are
    shown with the reason, the exit code and the last log lines.
    """
    from runyard.cli.apply import run

    if timeout is not None and not wait:
        raise click.UsageError("--timeout goes with --wait only")
    return run(
        session,
        files,
        params=params,
        wait=wait,
        timeout=timeout,
        force_conflicts=force_conflicts,
    )


@options.runs
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    required=True,
    metavar="FILE|-|DIR",
    help="Whose experiments to plan; may be given repeatedly.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "yaml"]),
    default="text",
    help="yaml: the objects alone, without the difference.",
)
@options.params
@click.option(
    "--timeout",
    type=options.Seconds(),
    default="2m",
    metavar="TIME",
    show_default=True,
    help="Longest wait for the operator.",
)
def plan(
    session: Session, files: tuple[str, ...], output: str, params: tuple[str, ...], timeout: float
) -> int:
    """Show what the backends would get, and what differs from the experiment that exists.

    The operator renders a copy, secrets left out, and the API server checks it by a dry run.
    Nothing is submitted, and the experiment that exists stays as it is.
    """
    from runyard.cli.plan import run

    return run(session, files, params=params, output=output, timeout=timeout)


@options.runs
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


@options.runs
@options.experiment
@click.argument("task", metavar="[TASK]", required=False)
@click.option("-f", "--follow", is_flag=True, help="Wait for pods and for more lines, to the end.")
@click.option("--rank", type=click.IntRange(min=0), help="Only this node of a training job.")
@click.option("--role", metavar="NAME", help="Only this role of a group, or of a Ray cluster.")
@click.option("--attempt", type=click.IntRange(min=1), help="This attempt, not the newest.")
@click.option("--previous", is_flag=True, help="The attempt before the newest.")
@click.option("--tail", type=click.IntRange(min=0), help="Only the last lines of each log.")
@click.option(
    "--since", metavar="TIME", help="Only lines from 10m ago, or from 2026-03-01T12:00:00Z, on."
)
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option(
    "--resume",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Go on where an earlier call with this file ended, and keep the place in it.",
)
def logs(session: Session, name: str, task: str | None, follow: bool, **more: Any) -> int:
    """Print what the tasks write, on all their nodes.

    A member of a matrix is named TASK[3] or TASK/3.
    With more than one source each line begins with the task and the rank it comes from.
    When the pods are gone the lines come from the archive, if the operator keeps one.
    """
    from runyard.cli.logs import Wanted, run

    if more["previous"] and more["attempt"] is not None:
        raise click.UsageError("--previous and --attempt do not go together")
    return run(session, Wanted(name, task, **more), follow=follow)


@options.runs
@options.experiment
@click.argument("task", metavar="[TASK]", required=False)
@click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="For programs, in full.")
def results(session: Session, name: str, task: str | None, output: str | None) -> int:
    """Show what the tasks gave: outputs, artifacts, the code they ran, where their logs are.

    A member of a matrix is named TASK[3] or TASK/3. Exits 1 if the task has given nothing yet.
    """
    from runyard.cli.results import run

    return run(session, name, task, output=output)


@options.runs
@options.experiment
@click.option(
    "--from",
    "from_tasks",
    multiple=True,
    metavar="TASK",
    help="Run this task in any case, and all that come after it; may be given repeatedly.",
)
@click.option("--as", "new_name", metavar="NAME", help="Name of the new experiment.")
@click.option(
    "--recorded-profiles",
    "recorded",
    is_flag=True,
    help="Take the profiles as they were when the old one ran.",
)
@click.option("--wait", is_flag=True, help="Follow the new experiment to its end.")
@options.wait_timeout
def rerun(
    session: Session,
    name: str,
    from_tasks: tuple[str, ...],
    new_name: str | None,
    recorded: bool,
    wait: bool,
    timeout: float | None,
) -> int:
    """Run an experiment again, under another name.

    Tasks that succeeded with the same code, arguments and inputs are taken over; the others run.
    """
    from runyard.cli.rerun import run

    if timeout is not None and not wait:
        raise click.UsageError("--timeout goes with --wait only")
    return run(session, name, from_tasks, new_name, recorded=recorded, wait=wait, timeout=timeout)


@options.runs
@click.option("--client", is_flag=True, help="Do not ask the cluster.")
def version(session: Session, client: bool) -> int:
    """Print the versions of program, cluster and operator."""
    from runyard.cli import actions

    return actions.version(session, client_only=client)


ALL = (apply, plan, status, logs, results, rerun, version)
