"""The clusters of one run of pytest, whatever number of processes it has.

With pytest-xdist tests run in worker processes. What these share, or leave behind when they die, is
removed by the process that starts them and outlives them all; without workers that is the only one.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from testbed import state
from testbed.cluster import Cluster, start_cluster
from testbed.down import down, down_all
from testbed.layout import DEFAULT_NAME, home_of
from testbed.locks import locked

_RUN = "RUNYARD_TEST_RUN"
_OWN = "own"
_MADE = "made"
_ASLEEP = "asleep.json"
_LABEL = "--selector=app.kubernetes.io/name=runyard"


def begin() -> Path:
    """Makes the folder of a run, which its worker processes find; to be removed by `end`."""
    folder = Path(tempfile.mkdtemp(prefix="runyard-tests-"))
    os.environ[_RUN] = str(folder)
    return folder


def end(folder: Path) -> None:
    """Removes the clusters that the run has made, and puts back what it has changed."""
    for root in (folder / _OWN).glob("*"):
        down_all(_quiet, root)
    if (folder / _MADE).exists():
        down(home_of(DEFAULT_NAME), say)
    elif (folder / _ASLEEP).exists():
        cluster = start_cluster(DEFAULT_NAME, "ml", say=say)
        for namespace, name, replicas in json.loads((folder / _ASLEEP).read_text()):
            cluster.kubectl("-n", namespace, "scale", "deployment", name, f"--replicas={replicas}")
    shutil.rmtree(folder, ignore_errors=True)


def own_root() -> Path:
    """The folder for clusters of this worker process alone."""
    return Path(os.environ[_RUN]) / _OWN / os.environ.get("PYTEST_XDIST_WORKER", "main")


def shared(*images: str) -> Cluster:
    """The cluster of level ml, for all worker processes of the run.

    It is the user's own when there is one, which then stays; else one for this run.
    """
    folder = Path(os.environ[_RUN])
    with locked(folder / ".lock"):
        if state.load(home_of(DEFAULT_NAME)) is None:
            (folder / _MADE).touch()
        cluster = start_cluster(DEFAULT_NAME, "ml", images=images, say=say)
        if not (folder / _MADE).exists() and not (folder / _ASLEEP).exists():
            (folder / _ASLEEP).write_text(json.dumps(_asleep(cluster)))
        return cluster


def say(line: str) -> None:
    """One line on standard error."""
    print(line, file=sys.stderr)


def _quiet(_line: str) -> None:
    return None


def _asleep(cluster: Cluster) -> list[list[str]]:
    """Puts the operators of the user's cluster to sleep: the tests bring their own.

    Those of other runs of the tests go on. Returns namespace, name and replicas of each.
    """
    each = '{.metadata.namespace} {.metadata.name} {.spec.replicas}{"\\n"}'
    place = f"jsonpath={{range .items[*]}}{each}{{end}}"
    listed = cluster.kubectl("get", "deployments", "--all-namespaces", _LABEL, "-o", place)
    found = [line.split() for line in listed.splitlines() if not line.startswith("test-")]
    for namespace, name, _ in found:
        cluster.kubectl("-n", namespace, "scale", "deployment", name, "--replicas=0")
        cluster.kubectl("-n", namespace, "wait", "pod", _LABEL, "--for=delete", "--timeout=120s")
    return found
