"""The text of a plan, and its bounds."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from runyard_operator.plans.document import bounded, digest, document


def test_objects_are_yaml_documents_below_comments() -> None:
    """A reader of YAML gets the objects back."""
    objects: list[dict[str, Any]] = [
        {"kind": "ConfigMap", "data": {"f": "a\nb\n"}},
        {"kind": "Job"},
    ]
    text = document(["task a", "error: two\nlines"], objects)
    assert text.splitlines()[:4] == ["# task a", "# error: two", "# lines", "---"]
    assert list(yaml.safe_load_all(text)) == objects


def test_scripts_are_readable() -> None:
    """Texts of several lines are shown as they are."""
    assert "  script: |\n    echo a\n    echo b\n" in document(
        [], [{"data": {"script": "echo a\necho b\n"}}]
    )


def test_equal_objects_are_written_out_each_time() -> None:
    """No anchors, which no reader of a manifest expects."""
    same = {"a": "b"}
    assert "&" not in document([], [{"x": same, "y": same}])


def test_what_fits_stays_whole_and_the_longest_is_cut() -> None:
    """A long script does not cost the short tasks their plan."""
    texts = {"short.yaml": "a\n" * 10, "long.yaml": "line\n" * 1000}
    cut = bounded(texts, 1000)
    assert cut["short.yaml"] == texts["short.yaml"]
    lines = cut["long.yaml"].splitlines()
    assert lines[-1] == "# ... cut: the whole has 5000 bytes"
    assert set(lines[:-1]) == {"line"}
    assert 900 < sum(len(name) + len(text) for name, text in cut.items()) <= 1000


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,20}", fullmatch=True), st.text(max_size=3000)),
    st.integers(min_value=4000, max_value=20000),
)
def test_the_whole_never_exceeds_the_limit(texts: dict[str, str], limit: int) -> None:
    """Bytes count, not characters; a limit holds at least the markers."""
    texts = dict(list(texts.items())[:40])
    cut = bounded(texts, limit)
    assert cut.keys() == texts.keys()
    assert sum(len(name.encode()) + len(text.encode()) for name, text in cut.items()) <= limit


def test_the_digest_is_that_of_the_content() -> None:
    """The order of the tasks does not count."""
    assert digest({"a": "1", "b": "2"}) == digest({"b": "2", "a": "1"})
    assert digest({"a": "1"}) != digest({"a": "2"})
