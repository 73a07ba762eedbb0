"""Reading what the system prints: mounts, routes; and names of clusters."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed import down, layout
from testbed.errors import ClusterError
from testbed.node import namespaces

_MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:25 / /state/a rw - tmpfs tmpfs rw
31 30 0:26 / /state/a/pods/with\\040space rw - tmpfs tmpfs rw
32 22 0:27 / /state/ab rw - tmpfs tmpfs rw
"""
_ROUTES = """\
default via 192.0.2.1 dev eth0
10.213.0.0/24 via 10.213.255.2 dev runyard0
10.214.0.0/16 dev docker0 proto kernel
10.2.0.0/16 dev eth1
"""


def test_mounts_come_deepest_first_and_only_from_below() -> None:
    """A sibling with the same beginning is not below; escaped spaces are understood."""
    found = down.mounts_below(_MOUNTS, Path("/state/a"))
    assert found == ["/state/a/pods/with space", "/state/a"]


def test_foreign_routes_to_needed_addresses_are_found() -> None:
    """Our own route is no conflict, nor is one to other addresses."""
    assert namespaces.conflicting_routes(_ROUTES) == ["10.214.0.0/16 dev docker0 proto kernel"]


@pytest.mark.parametrize("name", ["a", "runyard", "it-1", "a" * 40])
def test_usable_names(name: str) -> None:
    """DNS labels of up to 40 characters name clusters."""
    assert layout.home_of(name, Path("/x")).root == Path("/x") / name


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a/b", "..", ".locks", "a" * 41])
def test_unusable_names_are_refused(name: str) -> None:
    """A name that could leave the state folder or break a DNS label is an error."""
    with pytest.raises(ClusterError, match="not usable"):
        layout.home_of(name, Path("/x"))


def test_state_goes_where_xdg_says() -> None:
    """XDG_STATE_HOME moves the state, an empty one counts as unset."""
    assert layout.state_root({"XDG_STATE_HOME": "/s"}) == Path("/s/runyard/testbed")
    home = layout.state_root({"XDG_STATE_HOME": ""})
    assert home == Path("~/.local/state/runyard/testbed").expanduser()
