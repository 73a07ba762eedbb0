"""The entry point: the group of commands, and what becomes of errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from runyard.cli import changes, code, commands
from runyard.cli.options import EXIT_CODES, target_options
from runyard.cli.session import Target


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@target_options
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


for _command in (*commands.ALL, *changes.ALL, *code.ALL):
    app.add_command(_command)


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
