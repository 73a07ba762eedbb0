"""The shell wrappers around the roles of a group, run for real: each role is a process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runyard.api.unit import UnitSpec
from runyard_operator.backends.pods.group import ended_by, role_command
from runyard_operator.backends.pods.template import GROUP_DIR
from runyard_operator.unpack import make_pipe
from tests.unit.backends.samples import expand, job_spec, target

SHELLS = [
    each
    for each in (["/bin/sh"], ["bash", "--posix"], ["bash"], ["busybox", "sh"])
    if shutil.which(each[0])
]
FOR_EVER = "while :; do sleep 0.05; done"


def spec(policy: str = "All", /, **scripts: str) -> UnitSpec:
    """A unit with a group of these roles, in this order."""
    roles = [
        {"name": name, "script": {"path": f"{name}.sh", "entrypoint": "sh"}} for name in scripts
    ]
    whole: dict[str, Any] = job_spec(group={"roles": roles, "successPolicy": policy})
    del whole["script"]
    return UnitSpec.model_validate(whole)


@dataclass
class Pod:
    """A folder that stands for a pod, and the shell that is the `sh` of its containers."""

    root: Path
    shell: list[str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def log(self, role: str) -> str:
        """The termination message of a role."""
        path = self.root / f"{role}.log"
        return path.read_text() if path.exists() else ""

    def start(self, policy: str, role: str, /, **scripts: str) -> subprocess.Popen[bytes]:
        """Starts one role of the group."""
        folder = self.root / "group"
        folder.mkdir(exist_ok=True)
        for name, text in scripts.items():
            make_pipe(str(folder / name))
            script = self.root / f"{name}.sh"
            if not script.exists():  # a role that runs is reading it
                script.write_text(text)
        unit = spec(policy, **scripts)
        chosen = (
            next(each for each in unit.group.roles if each.name == role) if unit.group else None
        )
        assert chosen is not None
        words = [expand(each) for each in role_command(target(unit.to_dict()), chosen)]
        words = [str(folder) if each == GROUP_DIR else each for each in words]
        with (self.root / f"{role}.err").open("wb") as errors:
            process = subprocess.Popen(
                [*self.shell, *words[1:]],
                cwd=self.root,
                env={
                    "PATH": os.environ["PATH"],
                    "RUNYARD_TERMINATION_LOG": str(self.root / f"{role}.log"),
                },
                stdin=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def run(self, **scripts: str) -> dict[str, subprocess.Popen[bytes]]:
        """Starts all roles of a group with successPolicy All."""
        return {name: self.start("All", name, **scripts) for name in scripts}

    def wait_for(self, name: str) -> None:
        """Returns once a script has made the file."""
        deadline = time.monotonic() + 60
        while not (self.root / name).exists():
            assert time.monotonic() < deadline, f"{name} was not written"
            time.sleep(0.01)


@pytest.fixture(params=SHELLS, ids=" ".join)
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pod]:
    """A pod for each shell of this machine; as with a container, nothing of it outlives it."""
    made = Pod(root=tmp_path, shell=request.param)
    yield made
    for process in made.running:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        process.wait(60)


def test_roles_that_end_well_leave_the_others_alone(pod: Pod) -> None:
    """The group goes on until its last role has ended."""
    roles = pod.run(
        leader="until [ -e go ]; do sleep 0.05; done; : > done",
        early="exit 0",
        late="until [ -e done ]; do sleep 0.05; done",
    )
    assert roles["early"].wait(60) == 0
    (pod.root / "go").touch()
    assert [each.wait(60) for each in roles.values()] == [0, 0, 0]
    assert [pod.log(each) for each in roles] == ["", "", ""]


def test_the_first_failure_ends_the_others(pod: Pod) -> None:
    """They hear SIGTERM, and their own ends say who was first."""
    stopping = "trap 'echo bye > stopped; exit 0' TERM; : > ready; " + FOR_EVER
    roles = pod.run(leader=FOR_EVER, bad="until [ -e ready ]; do :; done; exit 3", kind=stopping)
    assert roles["bad"].wait(60) == 3
    assert roles["leader"].wait(60) == 143
    assert roles["kind"].wait(60) == 0
    assert (pod.root / "stopped").exists()
    assert ended_by(pod.log("leader")) == "bad"
    assert pod.log("bad") == ""
    assert "role bad has failed" in (pod.root / "leader.err").read_text()


def test_a_role_that_is_killed_with_its_shell_ends_the_others(pod: Pod) -> None:
    """Out of memory, the kernel kills a container's processes all at once: nobody is told."""
    roles = pod.run(leader=FOR_EVER, greedy=": > ready; " + FOR_EVER)
    pod.wait_for("ready")
    os.killpg(roles["greedy"].pid, signal.SIGKILL)
    assert roles["leader"].wait(60) == 143
    assert ended_by(pod.log("leader")) == "greedy"


def test_a_role_may_fail_before_the_others_start(pod: Pod) -> None:
    """Containers start one after the other: the end of an early one is not missed."""
    scripts = {"leader": FOR_EVER, "bad": "exit 4"}
    assert pod.start("All", "bad", **scripts).wait(60) == 4
    assert pod.start("All", "leader", **scripts).wait(60) == 143
    assert ended_by(pod.log("leader")) == "bad"


def test_what_fails_in_the_wake_is_not_the_first(pod: Pod) -> None:
    """A connection that breaks makes the others fail by themselves."""
    roles = pod.run(
        leader="trap 'exit 9' TERM; until [ -e broken ]; do sleep 0.05; done; sleep 1; exit 8",
        bad="sleep 1; : > broken; exit 5",
    )
    assert roles["bad"].wait(60) == 5
    assert roles["leader"].wait(60) in (8, 9)
    assert ended_by(pod.log("leader")) == "bad"
    assert ended_by(pod.log("bad")) is None


def test_sigterm_reaches_every_role(pod: Pod) -> None:
    """When the pod is deleted, the kubelet signals the shell of each container."""
    roles = pod.run(leader="trap 'exit 0' TERM; : > ready; " + FOR_EVER)
    pod.wait_for("ready")
    roles["leader"].send_signal(signal.SIGTERM)
    assert roles["leader"].wait(60) == 0


@pytest.mark.parametrize("code", [0, 7])
def test_a_sidecar_stays_after_its_command(pod: Pod, code: int) -> None:
    """The kubelet would start it again; once told to stop, it gives the command's own code."""
    scripts = {"leader": "true", "worker": f": > ran; exit {code}"}
    worker = pod.start("Leader", "worker", **scripts)
    pod.wait_for("ran")
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0.5)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == code


def test_a_sidecar_that_was_killed_does_not_run_again(pod: Pod) -> None:
    """One attempt runs each role once, whatever the kubelet starts again."""
    scripts = {"leader": "true", "worker": "echo ran >> ran; : > ready; " + FOR_EVER}
    first = pod.start("Leader", "worker", **scripts)
    pod.wait_for("ready")
    os.killpg(first.pid, signal.SIGKILL)
    again = pod.start("Leader", "worker", **scripts)
    with pytest.raises(subprocess.TimeoutExpired):
        again.wait(0.5)
    again.send_signal(signal.SIGTERM)
    assert again.wait(60) == 137
    assert (pod.root / "ran").read_text() == "ran\n"


def test_a_sidecar_passes_sigterm_on(pod: Pod) -> None:
    """The leader has ended: the worker may save what it has."""
    scripts = {"leader": "true", "worker": "trap 'exit 6' TERM; : > ready; " + FOR_EVER}
    worker = pod.start("Leader", "worker", **scripts)
    pod.wait_for("ready")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 6


def test_the_leader_of_sidecars_is_not_wrapped() -> None:
    """It needs no shell: Kubernetes itself ends the others after it."""
    unit = spec("Leader", leader="", worker="")
    assert unit.group is not None
    assert role_command(target(unit.to_dict()), unit.group.roles[0]) == ["sh", "leader.sh"]
