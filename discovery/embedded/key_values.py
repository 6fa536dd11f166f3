"""The key-value store and its indexes, as Consul counts them. Pure.

A single key waits for itself as long as it exists; a missing one for any change of the store. A prefix
waits for the keys below it, deleted ones included; one without any for any change of the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from discovery.embedded.catalog import Scope
    from discovery.embedded.changes import Changes

MAX_TOMBSTONES = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One key with its value, and the numbers of the changes that made and last altered it."""

    key: str
    value: bytes
    flags: int
    create_index: int
    modify_index: int


class KeyValues:
    """Keys in any order; `below` sorts them."""

    def __init__(self, changes: Changes) -> None:
        # for life
        self._changes = changes
        # content
        self.entries: dict[str, Entry] = {}
        self._tombstones: dict[str, int] = {}
        self._forgotten_index = 0
        self._index = changes.index

    def index_of(self, scope: Scope) -> int:
        """The number of the last change that mattered to `scope`; never 0."""
        if scope.kind == "key":
            entry = self.entries.get(scope.name)
            return entry.modify_index if entry else self._index
        if not scope.name:
            return self._index
        newest = [entry.modify_index for entry in self.below(scope.name)]
        newest.extend(index for key, index in self._tombstones.items() if key.startswith(scope.name))
        return max(self._forgotten_index, *newest, 0) or self._index

    def below(self, prefix: str) -> list[Entry]:
        """The entries whose keys begin with `prefix`, by key."""
        return [entry for key, entry in sorted(self.entries.items()) if key.startswith(prefix)]

    def put(self, key: str, value: bytes, flags: int = 0, *, cas: int | None = None) -> bool:
        """Set a key, and return whether that was done; the same value again is no change.

        With `cas` only if that is the number of its last change, 0 for a key that is not there.
        """
        old = self.entries.get(key)
        if cas is not None and cas != (old.modify_index if old else 0):
            return False
        if old is not None and (old.value, old.flags) == (value, flags):
            return True
        number = self._changes.index + 1
        self.entries[key] = Entry(key, value, flags, old.create_index if old else number, number)
        self._tombstones.pop(key, None)
        self._end_change(number)
        return True

    def delete(self, key: str, *, cas: int | None = None) -> bool:
        """Take a key out, and return whether it is gone; with `cas` only if that is the number of its last change."""
        old = self.entries.get(key)
        if old is not None and cas is not None and cas != old.modify_index:
            return False
        self._delete([key] if old is not None else [])
        return True

    def delete_below(self, prefix: str) -> None:
        """Take out every key that begins with `prefix`, as one change."""
        self._delete([entry.key for entry in self.below(prefix)])

    def _delete(self, keys: list[str]) -> None:
        if not keys:
            return
        number = self._changes.index + 1
        for key in keys:
            del self.entries[key]
            self._tombstones[key] = number
        self._bury(number)
        self._end_change(number)

    def _bury(self, number: int) -> None:
        """Remember no more deleted keys than are of use; then every prefix is taken to have lost one just now."""
        if len(self._tombstones) > MAX_TOMBSTONES:
            self._tombstones.clear()
            self._forgotten_index = number

    def _end_change(self, number: int) -> None:
        self._index = number
        self._changes.end(number)
