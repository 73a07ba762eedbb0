"""The cache of what the watches have told, newest state only, with the indexes that we ask for.

What is read here may be some seconds old, and it is shared: never change it in place.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from runyard.api.constants import LABEL_EXPERIMENT, LABEL_UNIT_UID
from runyard_operator.kube.api import Object, Objects
from runyard_operator.kube.compact import compact
from runyard_operator.kube.resources import Ref

Name = tuple[str, str, str]
"""Kind, namespace (empty for cluster-scoped kinds) and name."""

# How many deletions are remembered, so that a late event cannot bring an object back. An event
# is late by seconds; this many deletions take far longer.
MAX_TOMBSTONES: Final = 10_000


class Store:
    """Objects by kind, namespace and name.

    resourceVersions are compared as numbers: the API server promises that order within one kind.
    """

    def __init__(self) -> None:
        self._objects: dict[Name, Object] = {}
        self._by_kind: dict[str, dict[Name, Object]] = defaultdict(dict)
        self._indexes: dict[tuple[str, str], set[Name]] = defaultdict(set)
        self._tombstones: OrderedDict[Name, int] = OrderedDict()
        self._untold: dict[Name, int] = {}

    def hear(self, obj: Object) -> bool:
        """Takes in what a watch or a list has brought; whether it is news.

        It is not when it is stale, known as deleted, the echo of `wrote`, or heard before. What
        was only `put` is news still: whoever read it has told nobody.
        """
        name, version = _name(obj), _version(obj)
        if version == self._known(name):
            return self._untold.pop(name, None) is not None
        return self._take(name, version, obj)

    def put(self, obj: Object) -> bool:
        """Takes in what was read in passing; False when it is stale, or known as deleted."""
        name, version = _name(obj), _version(obj)
        if version == self._known(name):
            return True
        fresh = self._take(name, version, obj)
        if fresh:
            self._untold[name] = version
        return fresh

    def wrote(self, obj: Object) -> None:
        """Takes in what this process has written, and told whom it concerns."""
        name, version = _name(obj), _version(obj)
        untold = name in self._untold
        if self._take(name, version, obj) and untold:
            # Something else changed before, and nobody has been told of that.
            self._untold[name] = version

    def _take(self, name: Name, version: int, obj: Object) -> bool:
        if version <= max(self._known(name), self._tombstones.get(name, -1)):
            return False
        self._tombstones.pop(name, None)
        self._forget(name)
        self._remember(name, compact(obj))
        return True

    def delete(self, obj: Object) -> bool:
        """Takes a deletion in, given the last state; False when a newer object is known."""
        name, version = _name(obj), _version(obj)
        if version < self._known(name):
            return False
        self._bury(name, version)
        self._forget(name)
        return True

    def remove(self, ref: Ref) -> bool:
        """Takes note that the API server does not have the object; whether it was known."""
        name = (ref.kind, ref.namespace or "", ref.name)
        if name not in self._objects:
            return False
        # A late event of the life that has ended must not bring it back.
        self._bury(name, self._known(name))
        return self._forget(name)

    def replace(
        self, kind: str, namespace: str | None, objects: Iterable[Object], version: str
    ) -> list[Object]:
        """Takes a complete list in and returns what it changed; the missing are deleted.

        Watches do not tell of deletions that happened while they were cut off.

        Args:
            kind: the kind that was listed.
            namespace: the namespace that was listed, or None for the whole cluster.
            objects: all that there was.
            version: the resourceVersion of the list; what is known to be newer stays.
        """
        at = int(version)
        listed = list(objects)
        names = {_name(each) for each in listed}
        changed = [each for each in listed if self.hear(each)]
        for name, obj in list(self._by_kind[kind].items()):
            outside = namespace is not None and name[1] != namespace
            if name in names or outside or _version(obj) > at:
                continue
            self._bury(name, at)
            self._forget(name)
            changed.append(obj)
        return changed

    def drop(self, kind: str) -> Objects:
        """Forgets all objects of a kind that is not served any longer; returns them."""
        dropped = list(self._by_kind[kind].values())
        for obj in dropped:
            self.delete(obj)
        return dropped

    def get(self, ref: Ref) -> Object | None:
        """The newest known state of an object."""
        return self._objects.get((ref.kind, ref.namespace or "", ref.name))

    def list(self, kind: str, namespace: str | None = None) -> Objects:
        """All objects of a kind, in the order of their names."""
        known = self._by_kind[kind]
        names = sorted(each for each in known if namespace is None or each[1] == namespace)
        return [known[name] for name in names]

    def children(self, unit_uid: str, kind: str | None = None) -> Objects:
        """The Jobs, TrainJobs and Pods that carry the label of a unit."""
        return self._indexed(LABEL_UNIT_UID, unit_uid, lambda name: kind in (None, name[0]))

    def units(self, namespace: str, experiment: str) -> Objects:
        """The ExecutionUnits that carry the label of an experiment."""
        return self._indexed(
            LABEL_EXPERIMENT,
            experiment,
            lambda name: name[0] == "ExecutionUnit" and name[1] == namespace,
        )

    def count(self, kind: str) -> int:
        """Number of objects of a kind."""
        return len(self._by_kind[kind])

    def _indexed(self, label: str, value: str, wanted: Callable[[Name], bool]) -> Objects:
        names = self._indexes.get((label, value), ())
        return [self._objects[name] for name in sorted(names) if wanted(name)]

    def _known(self, name: Name) -> int:
        known = self._objects.get(name)
        return -1 if known is None else _version(known)

    def _remember(self, name: Name, obj: Object) -> None:
        self._objects[name] = obj
        self._by_kind[name[0]][name] = obj
        for index in _indexes_of(obj):
            self._indexes[index].add(name)

    def _forget(self, name: Name) -> bool:
        obj = self._objects.pop(name, None)
        self._untold.pop(name, None)
        if obj is None:
            return False
        del self._by_kind[name[0]][name]
        for index in _indexes_of(obj):
            names = self._indexes[index]
            names.discard(name)
            if not names:
                del self._indexes[index]
        return True

    def _bury(self, name: Name, version: int) -> None:
        self._tombstones[name] = max(version, self._tombstones.get(name, -1))
        self._tombstones.move_to_end(name)
        while len(self._tombstones) > MAX_TOMBSTONES:
            self._tombstones.popitem(last=False)


def _name(obj: Object) -> Name:
    metadata = obj["metadata"]
    return obj["kind"], metadata.get("namespace", ""), metadata["name"]


def _version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _indexes_of(obj: Object) -> list[tuple[str, str]]:
    labels = obj["metadata"].get("labels") or {}
    return [(key, labels[key]) for key in (LABEL_UNIT_UID, LABEL_EXPERIMENT) if key in labels]
