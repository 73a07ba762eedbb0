"""What a cluster remembers between commands: its level, its ports, its options."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace

from testbed.errors import ClusterError
from testbed.layout import Home
from testbed.procs import write_atomically

LEVELS = ("api", "node", "ml")
APISERVER = "kube-apiserver"


def reaches(level: str, wanted: str) -> bool:
    """Tell whether ``level`` includes all of ``wanted``."""
    return LEVELS.index(level) >= LEVELS.index(wanted)


@dataclass(frozen=True, slots=True)
class State:
    """The remembered facts of one cluster. ``level`` is the one asked for."""

    level: str
    ports: dict[str, int]
    kuberay: bool = False
    simulated: int = 0
    applied: dict[str, str] = field(default_factory=dict)
    # The built part that serves the API; it stays the same for the cluster's life.
    apiserver: str = APISERVER
    kueue: bool = False

    def raised(self, level: str, *, kuberay: bool, kueue: bool, simulated: int) -> State:
        """Return the state with everything that is asked for added; nothing is ever taken away."""
        return replace(
            self,
            level=max(self.level, level, key=LEVELS.index),
            kuberay=self.kuberay or kuberay,
            kueue=self.kueue or kueue,
            simulated=max(self.simulated, simulated),
        )


def load(home: Home) -> State | None:
    """Read the state; None when the cluster has none.

    Raises ClusterError when the file is damaged or from another version.
    """
    try:
        return State(**json.loads(home.state.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ClusterError(
            f"the state of cluster {home.name!r} cannot be read ({home.state}: {error}); "
            f"remove the cluster with `python3 -m testbed down --name {home.name}`"
        ) from error


def save(home: Home, state: State) -> None:
    """Write the state in one step."""
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(home.state, json.dumps(asdict(state), indent=1) + "\n")
