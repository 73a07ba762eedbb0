"""The names of children."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from runyard_operator.backends import naming

UNITS = st.from_regex(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


@given(UNITS, st.integers(1, 16))
def test_names_fit_and_are_dns_labels(unit: str, attempt: int) -> None:
    """Pods and host names that are made from the names have at most 63 characters."""
    job, trainjob = naming.job_name(unit, attempt), naming.trainjob_name(unit, attempt)
    assert LABEL.fullmatch(job)
    assert len(f"{job}-abcde") <= 63
    assert LABEL.fullmatch(trainjob)
    assert len(f"{trainjob}-node-0-4095-abcde") <= 63


@given(UNITS, UNITS, st.integers(1, 16), st.integers(1, 16))
def test_different_attempts_have_different_names(a: str, b: str, m: int, n: int) -> None:
    """Two attempts share a name only when they are the same attempt of the same unit."""
    for name in (naming.job_name, naming.trainjob_name):
        assert (name(a, m) == name(b, n)) == ((a, m) == (b, n))


def test_short_names_stay_readable() -> None:
    """Nothing is added while the name fits."""
    assert naming.job_name("sft-train", 2) == "sft-train-2"
    assert naming.trainjob_name("sft-train", 2) == "sft-train-2"
