"""The testbed from Python, for tests: a running cluster as a context manager."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed import procs, supervise
from testbed.down import down
from testbed.layout import Home, home_of
from testbed.state import APISERVER, State
from testbed.up import Say, Wanted, up


def _quiet(_line: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that is up. Paths stay the same for its life."""

    home: Home
    wanted: Wanted
    say: Say = _quiet

    @property
    def kubeconfig(self) -> Path:
        return self.home.kubeconfig

    @property
    def audit_log(self) -> Path:
        return self.home.audit_log

    @property
    def logs_dir(self) -> Path:
        return self.home.logs

    def pid(self, component: str) -> int | None:
        """Return the pid of a component; None when it does not run."""
        process = supervise.running(self.home, component)
        return process.pid if process else None

    def components(self) -> list[str]:
        """Return the names of all components that were started."""
        return supervise.recorded(self.home)

    def stop(self, component: str, *, hard: bool = False) -> None:
        """Stop one component, with SIGKILL when ``hard``; ``start`` brings it back."""
        supervise.stop(self.home, component, hard=hard)

    def start(self) -> State:
        """Bring back whatever does not run and wait until all is ready."""
        return up(self.home, self.wanted, self.say)

    def restart(self, component: str, *, hard: bool = True) -> None:
        """Stop one component and bring it back."""
        self.stop(component, hard=hard)
        self.start()

    def hard_stop(self) -> None:
        """Kill every process of the cluster at once, as a power cut would; the state stays."""
        for name in self.components():
            process = supervise.running(self.home, name)
            if process is not None:
                procs.stop(process, hard=True)

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl and return its output; ``text`` is its standard input.

        Raises subprocess.CalledProcessError when it fails.
        """
        command: Sequence[str] = (
            str(self.home.root / "bin" / "kubectl"), "--kubeconfig", str(self.kubeconfig),
            *arguments,
        )  # fmt: skip
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            error = subprocess.CalledProcessError(
                done.returncode, command, done.stdout, done.stderr
            )
            error.add_note(done.stderr)
            raise error
        return done.stdout

    @contextlib.contextmanager
    def fresh_namespace(self, *, wait: bool) -> Iterator[str]:
        """Make a namespace of a new name for the block and delete it at the end.

        ``wait`` for the deletion where pods should be gone before the next test.
        """
        name = f"test-{secrets.token_hex(4)}"
        self.kubectl("create", "namespace", name)
        try:
            yield name
        finally:
            waiting = ("--wait=true", "--timeout=180s") if wait else ("--wait=false",)
            self.kubectl("delete", "namespace", name, "--ignore-not-found", *waiting)

    def down(self) -> None:
        """Remove the cluster and all that it made."""
        down(self.home, self.say)


def start_cluster(
    name: str,
    level: str = "api",
    *,
    kuberay: bool = True,
    kueue: bool = True,
    simulated: int = 0,
    images: Sequence[str] = (),
    apiserver: str = APISERVER,
    root: Path | None = None,
    say: Say = _quiet,
) -> Cluster:
    """Bring a cluster up, or join the running one of that name.

    ``root`` is the folder for its state (default: the user's), ``apiserver`` the built part that
    serves the API. Raises ClusterError or BuildError.
    """
    wanted = Wanted(level, kuberay, simulated, tuple(images), apiserver, kueue)
    home = home_of(name, root)
    up(home, wanted, say)
    return Cluster(home, wanted, say)


@contextlib.contextmanager
def running_cluster(
    name: str,
    level: str = "api",
    *,
    kuberay: bool = True,
    kueue: bool = True,
    simulated: int = 0,
    images: Sequence[str] = (),
    apiserver: str = APISERVER,
    root: Path | None = None,
    say: Say = _quiet,
) -> Iterator[Cluster]:
    """Bring a cluster up for the block and remove it, with all its state, at the end."""
    home = home_of(name, root)
    try:
        yield start_cluster(
            name,
            level,
            kuberay=kuberay,
            kueue=kueue,
            simulated=simulated,
            images=images,
            apiserver=apiserver,
            root=root,
            say=say,
        )
    finally:
        down(home, say)
