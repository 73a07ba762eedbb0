"""Who owns this machine's one node, and what the machine was like before it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from testbed.errors import ClusterError
from testbed.layout import Home, home_of
from testbed.locks import locked
from testbed.procs import boot_id, write_atomically

_FOLDER = Path("/run/runyard-testbed")

# The kubelet sets these for the whole machine; the old values come back at the end.
KERNEL_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)

# Fixed places of kubelet, CNI and the volume provisioner: the node sees its own folders there,
# but a place to mount them must exist. Parents come before children.
FIXED_PLACES = (
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/containers",
    "/tmp/hostpath_pv",  # noqa: S108 - the controller manager's own choice
)


@dataclass(frozen=True, slots=True)
class Owner:
    """The cluster that owns the node, with what to put back when it goes."""

    name: str
    home: str
    boot: str
    settings: dict[str, str] = field(default_factory=dict)
    made: tuple[str, ...] = ()


def _file() -> Path:
    return _FOLDER / "node.json"


def read() -> Owner | None:
    """Return the node's owner; None when nobody has one."""
    try:
        raw = json.loads(_file().read_text())
        return Owner(**{**raw, "made": tuple(raw["made"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise ClusterError(
            f"{_file()} cannot be read ({error}); if no other testbed runs pods on this machine, "
            "remove the file and try again"
        ) from error


def _read_settings(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        path = Path("/proc/sys") / name
        if path.exists():
            found[name] = path.read_text().strip()
    return found


def _make_places(places: Sequence[str]) -> tuple[str, ...]:
    made: list[str] = []
    for place in places:
        missing = [p for p in (Path(place), *Path(place).parents) if not p.exists()]
        Path(place).mkdir(parents=True, exist_ok=True)
        made += [str(path) for path in missing]  # children before parents, ready for removal
    return tuple(made)


def _taken(owner: Owner) -> str:
    state_home = Path(owner.home).parent.parent.parent
    return (
        f"this machine's one node belongs to cluster {owner.name!r} ({owner.home}). "
        f"Use that cluster (`--name {owner.name}`), or remove it: "
        f"`XDG_STATE_HOME={state_home} python3 -m testbed down --name {owner.name}`"
    )


def claim(home: Home) -> Owner:
    """Make this cluster the owner of the machine's node.

    Raises ClusterError, naming the owner, when another cluster that still exists has it.
    """
    with locked(_FOLDER / "lock"):
        owner = read()
        ours = owner is not None and owner.home == str(home.root)
        if owner is not None and not ours and Path(owner.home, "state.json").exists():
            raise ClusterError(_taken(owner))
        if owner is not None and ours and owner.boot == boot_id():
            return owner
        # A former owner without state was removed by hand, or the machine was started anew.
        same_boot = owner is not None and owner.boot == boot_id()
        settings = owner.settings if owner and same_boot else _read_settings(KERNEL_SETTINGS)
        made = (*(owner.made if owner else ()), *_make_places(FIXED_PLACES))
        new = Owner(home.name, str(home.root), boot_id(), settings, tuple(dict.fromkeys(made)))
        # Readable for all: users without rights have clusters, too, and ask whose the node is.
        write_atomically(_file(), json.dumps(asdict(new), indent=1), mode=0o644)
        return new


def _restore_settings(settings: dict[str, str]) -> None:
    for name, value in settings.items():
        path = Path("/proc/sys") / name
        if path.exists() and path.read_text().strip() != value:
            path.write_text(value)


def _remove_places(made: Sequence[str]) -> None:
    for place in made:
        path = Path(place)
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def release(home: Home) -> None:
    """Put the machine's settings back and give the node up, if this cluster owns it."""
    with locked(_FOLDER / "lock"):
        owner = read()
        if owner is not None and owner.home == str(home.root):
            if owner.boot == boot_id():
                _restore_settings(owner.settings)
            _remove_places(owner.made)
            _file().unlink()
    if _FOLDER.is_dir() and not any(_FOLDER.iterdir()):
        _FOLDER.rmdir()


def owns(home: Home) -> bool:
    """Tell whether this cluster owns the node."""
    owner = read()
    return owner is not None and owner.home == str(home.root)


def owner_home() -> Home | None:
    """Return the home of the owning cluster."""
    owner = read()
    return None if owner is None else home_of(owner.name, Path(owner.home).parent)
