"""Choosing ports and naming who holds a taken one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed import ports
from testbed.errors import ClusterError

_TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0
   1: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0
   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1 0
"""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_only_listeners_count() -> None:
    """An accepted connection on the same port is not its holder."""
    assert ports.listening_inodes(_TABLE, 8080) == {"11"}


@given(st.text(max_size=20))
def test_every_port_is_tried_once(key: str) -> None:
    """Wherever the search starts, it covers the whole range and nothing else."""
    found = ports.candidates(key)
    assert sorted(found) == list(range(ports.FIRST, ports.FIRST + ports.COUNT))


def test_chosen_ports_differ_and_avoid_the_taken_ones() -> None:
    """Reserved ports of other clusters are passed over."""
    first = ports.choose(["a", "b"], "key", taken=())
    second = ports.choose(["a", "b"], "key", taken=list(first.values()))
    assert len({*first.values(), *second.values()}) == 4


def test_a_used_port_is_not_free(taken: int) -> None:
    """A port with a listener is found taken."""
    assert not ports.is_free(taken)


def test_the_error_names_port_purpose_and_holder(taken: int) -> None:
    """The message says which port, what for, who has it and what to do."""
    with pytest.raises(ClusterError) as caught:
        ports.demand_free(taken, "127.0.0.1", "etcd", "one")
    message = str(caught.value)
    assert all(part in message for part in (str(taken), "etcd", f"process {os.getpid()}", "down"))


def test_a_full_range_is_an_error_with_advice() -> None:
    """When no port is left, the message says how to free some."""
    everything = range(ports.FIRST, ports.FIRST + ports.COUNT)
    with pytest.raises(ClusterError, match="down --all"):
        ports.choose(["a"], "key", taken=everything)
