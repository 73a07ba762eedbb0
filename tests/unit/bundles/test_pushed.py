"""The decisions about pushed code: what is wrong with it, what is too much, what may go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runyard.api.code import CodeBundle
from runyard.bundles import names
from runyard_operator.bundles import tokens
from runyard_operator.bundles.claim import over_cap, owner_patch, problem
from runyard_operator.bundles.sweep import doomed
from runyard_operator.storage.refusals import RefusedError
from runyard_operator.storage.tickets import Ticket, parse, valid

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
DIGEST = f"sha256:{'ab' * 32}"
KEY = b"k" * 32
SMALL, BIG = 1_500_000, 4_000_000


def stored(made: dict[str, Any], age: timedelta = timedelta(), **metadata: Any) -> dict[str, Any]:
    """An object as the API server would give it back."""
    more = {
        "namespace": "team-a",
        "uid": f"uid-{made['metadata']['name']}",
        "resourceVersion": "7",
        "creationTimestamp": names.timestamp(NOW - age),
        **metadata,
    }
    return {**made, "metadata": {**made["metadata"], **more}}


def manifest(size: int, **more: Any) -> dict[str, Any]:
    proof = tokens.proof(KEY, "team-a", DIGEST) if size == BIG else None
    return stored(names.manifest(DIGEST, size, now=NOW, proof=proof), **more)


@pytest.mark.parametrize("size", [1, 1_000_000, 1_000_001, 3_000_000, 3_000_001])
def test_names_follow_from_digest_and_size_alone(size: int) -> None:
    """What lists the parts and what the manifest says are of one mind."""
    made = names.manifest(DIGEST, size, now=NOW)
    parts = names.part_names(DIGEST, size)
    assert made["metadata"]["name"] == "code-abababababababab"
    assert made["data"]["parts"] == str(len(parts))
    assert (made["data"]["location"] == "Store") == (size > 3_000_000) == (parts == ())
    assert names.size_of(made) == size
    assert list(parts) == [f"code-abababababababab-{n}" for n in range(len(parts))]


@pytest.mark.parametrize("size", [SMALL, BIG])
def test_what_is_in_order_is_taken(size: int) -> None:
    """In ConfigMaps, and in the store."""
    assert problem(manifest(size), CodeBundle(digest=DIGEST, size=size), "team-a", KEY) is None


def test_each_fault_is_said_with_what_to_do() -> None:
    """Absent, going, of other content, of another size, damaged, forged, without a store."""
    small, big = (CodeBundle(digest=DIGEST, size=size) for size in (SMALL, BIG))
    other = CodeBundle(digest=f"sha256:{'abababababababab':0<64}", size=SMALL)
    damaged = {**manifest(SMALL), "data": {"location": "ConfigMaps", "parts": "1"}}
    cases: list[tuple[dict[str, Any] | None, CodeBundle, str, bytes | None, str]] = [
        (None, small, "team-a", KEY, "push it with runyard code push -n team-a"),
        (manifest(SMALL, deletionTimestamp="x"), small, "team-a", KEY, "push it with"),
        (manifest(SMALL), other, "team-a", KEY, "is not the manifest of"),
        (manifest(SMALL), big, "team-a", KEY, f"write size: {SMALL}"),
        (damaged, small, "team-a", KEY, "is damaged"),
        (manifest(BIG), big, "team-a", None, "bundleStore.enabled=true"),
        (manifest(BIG), big, "team-b", KEY, "was not written by the code store"),
        (manifest(BIG), big, "team-a", b"another key", "was not written by the code store"),
    ]
    for found, bundle, namespace, key, wanted in cases:
        assert wanted in str(problem(found, bundle, namespace, key))


def test_the_cap_counts_what_lies_in_config_maps() -> None:
    """And names what uses it."""
    both = [manifest(SMALL), manifest(BIG)]
    assert over_cap(both, SMALL) is None
    assert "code-abababababababab (1.5 MB)" in str(over_cap(both, SMALL - 1))


def test_an_owner_is_added_to_this_manifest_only() -> None:
    """The uid keeps an apply from making an empty ConfigMap."""
    owner = {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u", "controller": True}
    made = owner_patch(manifest(SMALL), owner)
    assert made["metadata"]["uid"] == "uid-code-abababababababab"
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u"}
    ]
    assert "data" not in made


def pushed(age: timedelta, again: timedelta | None = None, **more: Any) -> dict[str, Any]:
    """A manifest created and last pushed so long ago."""
    made = names.manifest(DIGEST, SMALL, now=NOW - (age if again is None else again))
    return stored(made, age, **more)


HOURS_2, MINUTES_50, MINUTES_70 = (timedelta(minutes=n) for n in (120, 50, 70))


@pytest.mark.parametrize(
    ("found", "goes"),
    [
        (pushed(MINUTES_50), False),
        (pushed(MINUTES_70), True),
        (pushed(HOURS_2, again=MINUTES_50), False),
        (pushed(HOURS_2, again=MINUTES_70), True),
        (pushed(HOURS_2, again=-MINUTES_50), False),
        (pushed(HOURS_2, again=-HOURS_2), True),
        (pushed(HOURS_2, ownerReferences=[{"uid": "u"}]), False),
    ],
    ids=["young", "old", "pushed again", "long ago", "fast clock", "absurd clock", "owned"],
)
def test_only_what_nothing_owns_and_nobody_pushes_goes(found: dict[str, Any], goes: bool) -> None:
    """An hour after the last push; a manifest and a part alike."""
    assert bool(doomed([found], [], [], NOW)) is goes
    assert bool(doomed([], [found], [], NOW)) is goes


def test_inline_code_is_not_the_sweeps() -> None:
    """What was not pushed has no time of a push, and stays."""
    found = pushed(HOURS_2)
    del found["metadata"]["annotations"][names.ANNOTATION_PUSHED]
    assert doomed([found], [], [], NOW) == []


def test_old_tickets_go() -> None:
    """After an hour, as they are good for one."""
    ages = (MINUTES_50, MINUTES_70)
    tickets = [stored(names.ticket(f"t-{age}", DIGEST, "t"), age) for age in ages]
    assert [each.ref.name for each in doomed([], [], tickets, NOW)] == [f"t-{MINUTES_70}"]


def test_a_ticket_is_good_for_one_digest_one_token_and_an_hour() -> None:
    """And only with its label."""
    token = "t" * 40
    shown = Ticket("team-a", "x", token)
    good = stored(names.ticket("x", DIGEST, token), MINUTES_50)
    assert valid(good, shown, DIGEST, NOW)
    assert not valid(None, shown, DIGEST, NOW)
    assert not valid(good, shown, f"sha256:{'0' * 64}", NOW)
    assert not valid(good, Ticket("team-a", "x", "u" * 40), DIGEST, NOW)
    assert not valid(stored(names.ticket("x", DIGEST, token), MINUTES_70), shown, DIGEST, NOW)
    young = names.timestamp(NOW)
    forged = stored(names.ticket("x", DIGEST, token), MINUTES_70)
    forged["metadata"]["annotations"] = {names.ANNOTATION_PUSHED: young}
    assert not valid(forged, shown, DIGEST, NOW)
    plain = stored(names.ticket("x", DIGEST, token))
    plain["metadata"]["labels"] = {}
    assert not valid(plain, shown, DIGEST, NOW)
    assert token not in str(good)


@pytest.mark.parametrize(
    "header", ["", "a/b", "a/b:short", f"a/b/c:{'t' * 40}", f"../b:{'t' * 40}", f"A/b:{'t' * 40}"]
)
def test_headers_of_another_form_are_refused(header: str) -> None:
    """Before anything is looked up."""
    with pytest.raises(RefusedError, match="runyard code push"):
        parse(header)
