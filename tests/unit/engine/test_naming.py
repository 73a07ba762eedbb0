"""Names of what is made: deterministic, short enough, and never confused within an experiment."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from runyard.api.base import DNS_LABEL
from runyard_operator.engine import naming

names = st.from_regex(DNS_LABEL, fullmatch=True).filter(lambda name: len(name) <= 63)
long_names = st.text("ab-", min_size=1, max_size=63).filter(re.compile(DNS_LABEL).fullmatch)


@given(names | long_names, names | long_names)
def test_a_units_name_is_a_dns_label(experiment: str, task: str) -> None:
    """It can name pods and services, whatever the parts are."""
    name = naming.unit_name(experiment, task)
    assert len(name) <= 63
    assert re.fullmatch(DNS_LABEL, name)
    assert name == naming.unit_name(experiment, task)


@given(names | long_names, long_names, long_names)
def test_two_tasks_of_an_experiment_never_share_a_unit(experiment: str, a: str, b: str) -> None:
    """Different tasks have different names, cut or not."""
    assert (naming.unit_name(experiment, a) == naming.unit_name(experiment, b)) == (a == b)


@given(long_names, st.integers(10, 63))
def test_a_bounded_name_keeps_its_head(name: str, limit: int) -> None:
    """People recognise the object; a name that fits is not touched."""
    bounded = naming.bounded(name, limit)
    assert len(bounded) <= limit
    assert bounded == name if len(name) <= limit else bounded[0] == name[0]


def test_the_key_of_an_attempt_has_its_unit_and_number() -> None:
    """UIDs are never used again, so a key names one try for good."""
    assert naming.attempt_key("0b5e", 2) == "0b5e-2"
