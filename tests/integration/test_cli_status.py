"""`runyard status`, `cancel`, `delete` and `version` against a real API server."""

from __future__ import annotations

import json
import signal

import pytest
import yaml

from testbed.cluster import Cluster
from tests.support.acting import ActingOperator, stamp
from tests.support.cli import Cli
from tests.support.experiments import experiment, job
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.integration


@pytest.fixture
def cli(kube: Kubectl) -> Cli:
    """The command line in the test's namespace."""
    return Cli(kube.kubeconfig, kube.namespace)


@pytest.fixture
def acting(kube: Kubectl) -> ActingOperator:
    """The test in the operator's place, with an experiment of two tasks."""
    second = job("second", "true", after=[{"task": "first"}])
    kube.apply(experiment("demo", job("first", "true"), second))
    return ActingOperator(kube, "demo")


def test_tasks_are_pending_before_the_operator_acts(cli: Cli, acting: ActingOperator) -> None:
    """The table is whole from the first moment."""
    assert acting.experiment == "demo"
    lines = cli.run("status", "demo").stdout.splitlines()
    assert lines[0].startswith("demo  ○ Pending  0/2 done")
    assert [line.split()[:4] for line in lines[3:]] == [
        ["first", "job", "○", "Pending"],
        ["└─", "second", "job", "○"],
    ]


def test_the_members_of_a_matrix_are_one_row_or_those_that_tell_most(
    cli: Cli, kube: Kubectl
) -> None:
    """Members that succeeded are known from the record, and their units are not asked for."""
    sweep = job("sweep", "true", matrix={"parameters": {"n": [str(n) for n in range(6)]}})
    kube.apply(experiment("grid", job("first", "true"), sweep))
    acting = ActingOperator(kube, "grid")
    acting.make_units("first")
    acting.make_members("sweep", 0, 1, 2)
    acting.unit("first", "Succeeded")
    acting.unit("sweep-0", "Succeeded")
    acting.unit("sweep-1", "Failed", reason="Error")
    acting.unit("sweep-2", "Running")
    acting.records(first="S", sweep="SF+...")
    lines = cli.run("status", "grid").stdout.splitlines()
    assert lines[3].split()[:4] == ["first", "job", "✓", "Succeeded"]
    assert "sweep" in lines[4]
    assert "2/6  1✗ 1● 3○ 1✓" in lines[4]
    lines = cli.run("status", "grid", "--members").stdout.splitlines()
    assert [line.split()[0] for line in lines[5:11]] == [
        f"sweep[{index}]" for index in (1, 2, 3, 4, 5, 0)
    ]
    assert "Error  n=1" in lines[5]
    assert "n=2" in lines[6]


def test_experiments_are_listed(cli: Cli, acting: ActingOperator, kube: Kubectl) -> None:
    """Without a name, all of the namespace come; with -A those of all namespaces."""
    acting.status("Running", progress="1/2", startTime=stamp())
    lines = cli.run("status").stdout.splitlines()
    assert lines[0].split() == ["NAME", "PHASE", "DONE", "REASON", "AGE", "DURATION"]
    assert lines[1].split()[:4] == ["demo", "●", "Running", "1/2"]
    everywhere = cli.run("status", "-A").stdout
    assert kube.namespace in everywhere


def test_an_empty_namespace_says_so(cli: Cli, kube: Kubectl) -> None:
    """Nothing to list is no error."""
    done = cli.run("status")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"there is no experiment in namespace '{kube.namespace}'" in done.stderr


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_programs_get_the_objects(cli: Cli, acting: ActingOperator, form: str) -> None:
    """-o gives a List of the experiment and its units."""
    acting.make_units()
    text = cli.run("status", "demo", "-o", form).stdout
    document = json.loads(text) if form == "json" else yaml.safe_load(text)
    assert (document["apiVersion"], document["kind"]) == ("v1", "List")
    assert [each["kind"] for each in document["items"]] == [
        "Experiment",
        "ExecutionUnit",
        "ExecutionUnit",
    ]
    assert "managedFields" not in document["items"][0]["metadata"]


def test_the_watch_survives_a_restart_of_the_api_server(
    cli: Cli, acting: ActingOperator, cluster: Cluster
) -> None:
    """While the server is away the watch says so; then it goes on with what it missed."""
    acting.make_units()
    acting.status("Running", startTime=stamp())
    with cli.start("status", "-w", "demo") as running:
        running.wait_for("experiment demo Running")
        cluster.stop("kube-apiserver", hard=True)
        running.wait_for("cannot reach the API server")
        cluster.start()
        acting.unit("first", "Succeeded")
        acting.unit("second", "Succeeded")
        running.wait_for("the API server answers again")
        acting.status("Succeeded", completionTime=stamp())
        assert running.finish() == 0
    assert any("first Succeeded" in line for line in running.seen)


def test_a_terminal_gets_a_live_table(cli: Cli, acting: ActingOperator) -> None:
    """On a terminal the table is drawn in place, in colours, and stays at the end."""
    acting.make_units()
    acting.status("Running", startTime=stamp())
    terminal = cli.on_terminal("status", "-w", "demo")
    terminal.wait_for("first")
    acting.unit("first", "Running", startTime=stamp())
    terminal.wait_for("● Running")
    acting.unit("first", "Succeeded", completionTime=stamp())
    acting.unit("second", "Succeeded", completionTime=stamp())
    acting.status("Succeeded", completionTime=stamp(), progress="2/2")
    assert terminal.finish() == 0
    assert "\x1b[32m✓ Succeeded" in terminal.drawn
    assert "\x1b[?25h" in terminal.drawn, "the cursor is shown again"


def test_ctrl_c_leaves_the_experiment_alone(
    cli: Cli, acting: ActingOperator, kube: Kubectl
) -> None:
    """An interrupted watch ends 130 and says how to look again."""
    acting.status("Running", startTime=stamp())
    with cli.start("status", "-w", "demo") as running:
        running.wait_for("experiment demo Running")
        running.process.send_signal(signal.SIGINT)
        assert running.finish() == 130
    assert any("the experiment goes on" in line for line in running.seen)
    found = kube.get("experiments.runyard.dev", "demo")
    assert found is not None
    assert found["spec"]["cancel"] is False


def test_a_deleted_experiment_ends_the_watch(
    cli: Cli, acting: ActingOperator, kube: Kubectl
) -> None:
    """There is nothing left to wait for."""
    acting.status("Running")
    with cli.start("status", "-w", "demo") as running:
        running.wait_for("experiment demo Running")
        kube.run("delete", "experiments.runyard.dev", "demo")
        assert running.finish() == 1
    assert any("the experiment 'demo' was deleted" in line for line in running.seen)


def test_a_picture_is_written(cli: Cli, acting: ActingOperator, tmp_path_factory: object) -> None:
    """--svg writes the table as a picture that needs nothing from the web."""
    acting.make_units()
    assert isinstance(tmp_path_factory, pytest.TempPathFactory)
    path = tmp_path_factory.mktemp("svg") / "status.svg"
    assert cli.run("status", "demo", "--svg", str(path)).returncode == 0
    picture = path.read_text(encoding="utf-8")
    assert picture.startswith("<svg")
    assert "second" in picture
    assert "url(http" not in picture
    assert "@font-face" not in picture


def test_cancel_asks_and_waits(cli: Cli, acting: ActingOperator, kube: Kubectl) -> None:
    """Cancel sets spec.cancel; --wait follows until all has ended; a second time is no error."""
    acting.status("Running")
    with cli.start("cancel", "demo", "--wait") as running:
        running.wait_for("experiment.runyard.dev/demo cancel requested")
        found = kube.get("experiments.runyard.dev", "demo")
        assert found is not None
        assert found["spec"]["cancel"] is True
        acting.status("Cancelled", reason="CancelRequested")
        assert running.finish() == 0
    again = cli.run("cancel", "demo")
    assert again.stdout == "experiment.runyard.dev/demo has ended already: Cancelled\n"


def test_cancel_outlives_a_later_apply(cli: Cli, kube: Kubectl) -> None:
    """Applying the file again does not take the cancel back."""
    document = json.dumps(experiment("demo", job("first", "true")))
    cli.run("apply", "-f", "-", stdin=document)
    cli.run("cancel", "demo")
    assert cli.run("apply", "-f", "-", stdin=document).returncode == 0
    found = kube.get("experiments.runyard.dev", "demo")
    assert found is not None
    assert found["spec"]["cancel"] is True


def test_delete_waits_for_the_finalizer(cli: Cli, acting: ActingOperator, kube: Kubectl) -> None:
    """--wait ends when the object is gone, not when its deletion begins."""
    patch = '{"metadata": {"finalizers": ["runyard.dev/cleanup"]}}'
    name = ("experiments.runyard.dev", acting.experiment)
    kube.run("patch", *name, "--type=merge", "-p", patch)
    late = cli.run("delete", "demo", "--wait", "--timeout", "1s")
    assert late.returncode == 124
    assert "still being deleted after 1 s" in late.stderr
    with cli.start("delete", "demo", "--wait") as running:
        running.wait_for("delete requested")
        kube.run("patch", *name, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
        assert running.finish() == 0
    assert running.seen[-1] == "experiment.runyard.dev/demo deleted"
    assert kube.get(*name) is None


def test_version_names_server_and_kinds(cli: Cli, kube: Kubectl) -> None:
    """All that can be found out is told."""
    assert kube.namespace
    lines = cli.run("version").stdout.splitlines()
    assert lines[0].startswith("Client:   runyard ")
    assert lines[1].startswith("Server:   Kubernetes v1.")
    assert lines[2] == (
        "API:      runyard.dev/v1alpha1 (Backend, ExecutionProfile, ExecutionUnit, Experiment)"
    )
    assert lines[3] == "Operator: not found in this cluster"
