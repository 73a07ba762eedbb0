"""The cache: newest state only, whatever the order in which the news arrive."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runyard.api.constants import API_VERSION
from runyard_operator.kube.api import Object
from runyard_operator.kube.resources import Ref
from runyard_operator.store import MAX_TOMBSTONES, Store
from tests.unit.operator_runtime.scripted import obj

UNIT = "ExecutionUnit"


def ref(name: str, kind: str = UNIT, namespace: str = "team") -> Ref:
    return Ref(API_VERSION, kind, name, namespace)


def version(found: Object | None) -> int | None:
    return None if found is None else int(found["metadata"]["resourceVersion"])


lives = st.lists(st.sampled_from(["change", "delete"]), min_size=1, max_size=12)


@given(lives=lives, data=st.data())
def test_any_order_of_events_ends_in_the_newest_state(lives: list[str], data: Any) -> None:
    """Repeated, late and reordered events never hide or revive what is newer."""
    events = [(what, number) for number, what in enumerate(lives, start=1)]
    mixed = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events)))))
    store = Store()
    for what, number in mixed:
        found = obj(UNIT, "u", number, labels={"runyard.dev/experiment": f"e{number % 2}"})
        (store.hear if what == "change" else store.delete)(found)
    last, number = events[-1]
    assert version(store.get(ref("u"))) == (number if last == "change" else None)
    for experiment in ("e0", "e1"):
        there = last == "change" and experiment == f"e{number % 2}"
        assert len(store.units("team", experiment)) == int(there)


def test_numbers_not_letters() -> None:
    """Version 10 is newer than version 9."""
    store = Store()
    assert store.put(obj(UNIT, "u", 10))
    assert not store.put(obj(UNIT, "u", 9))
    assert version(store.get(ref("u"))) == 10


def test_what_was_read_in_passing_is_news_when_the_watch_brings_it() -> None:
    """A read tells nobody, so the watch must, once: somebody may wait for it."""
    store = Store()
    assert store.put(obj(UNIT, "u", 5))
    assert store.hear(obj(UNIT, "u", 5))
    assert not store.hear(obj(UNIT, "u", 5))


def test_a_list_tells_what_was_read_in_passing() -> None:
    """The watch may have broken before it brought what was read; a new list makes up for it."""
    store = Store()
    store.put(obj(UNIT, "u", 5))
    store.hear(obj(UNIT, "known", 4))
    changed = store.replace(UNIT, None, [obj(UNIT, "u", 5), obj(UNIT, "known", 4)], "9")
    assert [each["metadata"]["name"] for each in changed] == ["u"]


def test_the_echo_of_our_own_write_is_no_news() -> None:
    """Who writes tells whom it concerns; what comes after is news again."""
    store = Store()
    store.wrote(obj(UNIT, "u", 5))
    assert not store.hear(obj(UNIT, "u", 5))
    store.wrote(obj(UNIT, "u", 6))
    assert store.hear(obj(UNIT, "u", 7))


def test_a_write_over_untold_news_does_not_hide_them() -> None:
    """Somebody's change that a write has come upon is still told, by the echo of that write."""
    store = Store()
    store.put(obj(UNIT, "u", 5))
    store.wrote(obj(UNIT, "u", 6))
    assert store.hear(obj(UNIT, "u", 6))


def test_a_late_answer_to_a_write_changes_nothing() -> None:
    """The watch was faster than the answer, and has told already."""
    store = Store()
    assert store.hear(obj(UNIT, "u", 7))
    store.wrote(obj(UNIT, "u", 6))
    assert version(store.get(ref("u"))) == 7
    assert not store.hear(obj(UNIT, "u", 7))


def test_kept_objects_share_their_words() -> None:
    """Thousands of objects say the same: each name of a field is kept once; nothing is lost."""
    store = Store()
    sent = [
        json.loads(json.dumps(obj(UNIT, name, 1, status={"phase": "Running", "n": [1, None]})))
        for name in ("a", "b")
    ]
    sent[0]["metadata"]["managedFields"] = [{"manager": "x"}]
    assert store.hear(sent[0])
    assert store.hear(sent[1])
    a, b = store.get(ref("a")), store.get(ref("b"))
    assert a is not None
    assert b is not None
    assert a["status"]["phase"] is b["status"]["phase"]
    assert all(one is other for one, other in zip(a, b, strict=True))
    assert b == sent[1]
    assert "managedFields" not in a["metadata"]
    assert "managedFields" in sent[0]["metadata"]


def test_a_new_life_replaces_the_old_one() -> None:
    """An object of the same name with another uid takes its place, indexes included."""
    store = Store()
    store.put(obj("Job", "j", 5, uid="one", labels={"runyard.dev/unit-uid": "old"}))
    store.put(obj("Job", "j", 9, uid="two", labels={"runyard.dev/unit-uid": "new"}))
    store.delete(obj("Job", "j", 7, uid="one", labels={"runyard.dev/unit-uid": "old"}))
    assert store.children("old") == []
    assert [each["metadata"]["uid"] for each in store.children("new")] == ["two"]


def test_children_of_a_unit_by_kind() -> None:
    """A unit's Jobs and Pods are found by its uid, in the order of their names."""
    store = Store()
    labels = {"runyard.dev/unit-uid": "x"}
    for kind, name in (("Pod", "b"), ("Pod", "a"), ("Job", "j"), ("Pod", "other")):
        store.put(obj(kind, name, 1, labels={} if name == "other" else labels))
    assert [each["metadata"]["name"] for each in store.children("x")] == ["j", "a", "b"]
    assert [each["metadata"]["name"] for each in store.children("x", "Pod")] == ["a", "b"]


def test_a_full_list_finds_what_nobody_told() -> None:
    """Objects that a list does not have are gone; those that are newer than it stay."""
    store = Store()
    for name, at in (("gone", 5), ("kept", 6), ("younger", 50)):
        store.hear(obj(UNIT, name, at))
    store.hear(obj(UNIT, "elsewhere", 1, namespace="other"))
    store.hear(obj("Experiment", "e", 1))
    listed = [obj(UNIT, "kept", 6), obj(UNIT, "fresh", 20)]
    changed = store.replace(UNIT, "team", listed, "40")
    assert sorted(each["metadata"]["name"] for each in changed) == ["fresh", "gone"]
    names = {each["metadata"]["name"] for each in store.list(UNIT)}
    assert names == {"kept", "fresh", "younger", "elsewhere"}
    assert store.count("Experiment") == 1
    assert not store.put(obj(UNIT, "gone", 5))


def test_removed_by_reference() -> None:
    """An object that the API server does not have is gone, and its late events with it."""
    store = Store()
    assert not store.remove(ref("u"))
    store.put(obj(UNIT, "u", 5))
    assert store.remove(ref("u"))
    assert not store.put(obj(UNIT, "u", 5))
    assert store.put(obj(UNIT, "u", 6))


def test_managed_fields_are_left_out() -> None:
    """What is a third of each object and of no use is not kept, and the original stays whole."""
    store = Store()
    found = obj(UNIT, "u", 1)
    found["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    store.put(found)
    kept = store.get(ref("u"))
    assert kept is not None
    assert "managedFields" not in kept["metadata"]
    assert "managedFields" in found["metadata"]


def test_deletions_are_remembered_within_bounds() -> None:
    """The memory of deletions does not grow for ever."""
    store = Store()
    for number in range(MAX_TOMBSTONES + 10):
        store.delete(obj(UNIT, f"u{number}", 5))
    assert store.put(obj(UNIT, "u0", 1))
    assert not store.put(obj(UNIT, f"u{MAX_TOMBSTONES}", 1))
