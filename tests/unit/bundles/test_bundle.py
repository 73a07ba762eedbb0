"""Code bundles: named by content, refused when they could not be mounted."""

from __future__ import annotations

import pytest

from runyard.api.constants import MAX_INLINE_CODE_BYTES
from runyard_operator.bundles.bundle import BundleError, bundle, config_map, same_content

OWNER = {
    "apiVersion": "runyard.dev/v1alpha1",
    "kind": "ExecutionUnit",
    "name": "sft-train",
    "uid": "u-1",
    "controller": True,
    "blockOwnerDeletion": True,
}


def test_the_name_says_the_content() -> None:
    """Same files, same name, in whatever order; one byte more is another bundle."""
    one = bundle([("a.py", "a"), ("pkg/b.py", "b")])
    assert one == bundle([("pkg/b.py", "b"), ("a.py", "a")])
    assert one.name == f"code-{one.digest.removeprefix('sha256:')[:16]}"
    assert one.name != bundle([("a.py", "a"), ("pkg/b.py", "b\n")]).name
    assert one.name != bundle([("a.py", "a"), ("pkg/c.py", "b")]).name


def test_the_config_map_is_immutable_and_has_one_more_owner() -> None:
    """Keys cannot hold '/': they are numbered, and `items` say the paths."""
    packed = bundle([("pkg/b.py", "b"), ("a.py", "a")])
    manifest = config_map(packed, namespace="team-a", owner=OWNER)
    assert manifest["immutable"] is True
    assert manifest["data"] == {"f000": "a", "f001": "b"}
    assert packed.items == [{"key": "f000", "path": "a.py"}, {"key": "f001", "path": "pkg/b.py"}]
    (owner,) = manifest["metadata"]["ownerReferences"]
    assert owner == {key: OWNER[key] for key in ("apiVersion", "kind", "name", "uid")}


def test_only_the_same_content_of_ours_is_taken() -> None:
    """A ConfigMap of somebody else, or with other data, is not the bundle."""
    wanted = config_map(bundle([("a.py", "a")]), namespace="team-a", owner=OWNER)
    assert same_content(wanted, wanted)
    assert not same_content({**wanted, "data": {"f000": "b"}}, wanted)
    assert not same_content({"metadata": {"name": wanted["metadata"]["name"]}}, wanted)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([("a", "1"), ("a", "2")], "'a' is given twice"),
        ([("a", "1"), ("a/b", "2")], "'a' is a file, and the folder of 'a/b'"),
        ([("a/../b", "1")], "without empty, '.' or '..' parts"),
        ([("/a", "1")], "must be relative"),
        ([("..a/b", "1")], "begins with '..'"),
        (
            [("a", "x" * (MAX_INLINE_CODE_BYTES - 1)), ("b", "é")],
            f"take {MAX_INLINE_CODE_BYTES + 1} bytes and at most {MAX_INLINE_CODE_BYTES} fit",
        ),
    ],
)
def test_what_cannot_be_mounted_is_refused(files: list[tuple[str, str]], words: str) -> None:
    """The message names the file and says what to do."""
    with pytest.raises(BundleError) as caught:
        bundle(files)
    assert words in str(caught.value)


def test_as_much_as_fits_is_taken() -> None:
    """The limit itself is allowed."""
    bundle([("a", "x" * MAX_INLINE_CODE_BYTES)])
