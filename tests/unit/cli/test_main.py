"""The program itself: help, usage, the names it goes by."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (
    "apply",
    "approve",
    "cancel",
    "delete",
    "logs",
    "plan",
    "reject",
    "rerun",
    "results",
    "resume",
    "status",
    "suspend",
    "version",
)
EXIT_CODES = ("apply", "cancel", "plan", "rerun", "status")


def run(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The program as users start it, without a cluster."""
    environment = {**os.environ, "KUBECONFIG": "/nonexistent/config", "HOME": "/nonexistent"}
    return subprocess.run(
        [sys.executable, "-m", "runyard.cli.main", *args],
        text=True,
        capture_output=True,
        env={**environment, **environ},
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=120,
    )


def test_help_names_every_command_and_the_exit_codes() -> None:
    """--help is enough to find the way."""
    done = run("--help")
    assert done.returncode == 0
    assert all(f"\n  {command} " in done.stdout for command in COMMANDS)
    assert "0 Succeeded, 1 Failed" in done.stdout
    assert "124" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_kubectls_options_after_its_name(command: str) -> None:
    """As a kubectl plugin, options come after the command."""
    done = run(command, "--help")
    assert done.returncode == 0
    for option in ("-n, --namespace", "--context", "--kubeconfig"):
        assert option in done.stdout
    assert ("exit code" in done.stdout.lower()) == (command in EXIT_CODES)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("aply",), "No such command 'aply'"),
        (("apply",), "Missing option '-f'"),
        (("apply", "-f", "x", "--timeout", "5m"), "--timeout goes with --wait only"),
        (("apply", "-f", "x", "--wait", "--timeout", "soon"), "is not a duration"),
        (("apply", "-f", "/nonexistent.yaml"), "/nonexistent.yaml: there is no such file"),
        (("status", "-w"), "name the experiment to watch"),
        (("status", "x", "-w", "-o", "json"), "do not go together"),
        (("status", "x", "-A"), "--all-namespaces lists"),
        (("status", "-o", "xml"), "'xml' is not one of 'json', 'yaml'"),
        (("logs",), "Missing argument 'EXPERIMENT'"),
        (("logs", "x", "--rank", "-1"), "-1 is not in the range"),
        (("logs", "x", "--attempt", "2", "--previous"), "do not go together"),
        (("logs", "x", "--since", "soon"), "--since soon: this is neither a duration nor a time"),
        (("logs", "x", "--since", "2026-03-01T12:00:00"), "nor a time with its zone"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(args: tuple[str, ...], said: str) -> None:
    """Usage errors are found before any cluster is asked."""
    done = run(*args)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_cluster_the_way_to_one_is_shown() -> None:
    """No kubeconfig is an error that says what to set."""
    done = run("status")
    assert done.returncode == 1
    assert "no cluster is configured" in done.stderr
    assert "set KUBECONFIG or give --kubeconfig" in done.stderr
    named = run("status", "--kubeconfig", "/nonexistent/other")
    assert "/nonexistent/other does not exist" in named.stderr


def test_the_kubectl_plugin_calls_itself_so(tmp_path: Path) -> None:
    """Usage texts show the command that people type."""
    plugin = tmp_path / "kubectl-runyard"
    plugin.write_text(
        f"#!{sys.executable}\nfrom runyard.cli.main import main\nmain()\n", encoding="utf-8"
    )
    plugin.chmod(0o755)
    done = subprocess.run([plugin, "--help"], text=True, capture_output=True, check=True)
    assert done.stdout.startswith("Usage: kubectl runyard ")


def test_version_without_a_cluster_is_no_failure() -> None:
    """The client's version is always told."""
    done = run("version")
    assert done.returncode == 0
    assert done.stdout.startswith("Client:   runyard ")
    assert run("version", "--client").stdout.count("\n") == 1


def test_a_reader_that_leaves_early_is_no_error() -> None:
    """Output into a closed pipe ends quietly."""
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        [sys.executable, "-m", "runyard.cli.main", "version", "--client"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=120,
    )
    os.close(writer)
    assert process.stderr == ""
    assert process.returncode == 1


@pytest.mark.parametrize("args", [("--help",), ("version", "--client"), ("status",)])
def test_heavy_packages_are_not_loaded_before_they_are_needed(args: tuple[str, ...]) -> None:
    """Start-up loads neither models, nor Rich, nor the official client."""
    code = (
        "import sys, runyard.cli.main as m\n"
        f"sys.argv = ['runyard', *{args!r}]\n"
        "m.run_guarded('runyard')\n"
        "heavy = {'pydantic', 'rich', 'kubernetes', 'yaml', 'typer'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KUBECONFIG": "/nonexistent/config"},
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
