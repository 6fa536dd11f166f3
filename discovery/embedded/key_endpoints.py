"""``/v1/kv``: one key, all below a prefix, the names alone; set and taken out, on condition if wanted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from discovery.embedded import views
from discovery.embedded.catalog import Scope
from discovery.embedded.endpoints import Call, Read
from discovery.embedded.http_server import Response
from discovery.embedded.records import Refusal

if TYPE_CHECKING:
    from discovery.embedded.key_values import KeyValues

_NOT_FOUND = Response(404)
# A value is whatever somebody stored; a browser that is shown it must not run it.
_RAW = (("Content-Type", "text/plain"), ("X-Content-Type-Options", "nosniff"), ("Content-Security-Policy", "sandbox"))


class Keys:
    """Reads wait for a key or a prefix; `put` and `delete` answer whether it was done."""

    def __init__(self, store: KeyValues) -> None:
        self._store = store

    def read(self, call: Call) -> Read:
        """Answer ``GET``; with ``recurse`` or ``keys`` for everything below a prefix."""
        if call.has("keys"):
            return Read(Scope("tree", call.tail), lambda: self._names(call))
        if call.has("recurse"):
            return Read(Scope("tree", call.tail), lambda: self._all(call.tail))
        _require_key(call)
        return Read(Scope("key", call.tail), lambda: self._one(call))

    def put(self, call: Call) -> bool:
        """Set the key to the body."""
        _refuse_both(call, "acquire", "cas", "release")
        _require_key(call)
        if call.has("acquire") or call.has("release"):
            raise Refusal(400, "The development registry has no sessions: neither acquire nor release is available")
        flags = _number(call, "flags") if call.has("flags") else 0
        return self._store.put(call.tail, call.body, flags, cas=_number(call, "cas") if call.has("cas") else None)

    def delete(self, call: Call) -> bool:
        """Take out the key, or with ``recurse`` everything below it."""
        _refuse_both(call, "cas", "recurse")
        if call.has("recurse"):
            self._store.delete_below(call.tail)
            return True
        _require_key(call)
        return self._store.delete(call.tail, cas=_number(call, "cas") if call.has("cas") else None)

    def _one(self, call: Call) -> Any:
        entry = self._store.entries.get(call.tail)
        if entry is None:
            return _NOT_FOUND
        return Response(200, entry.value, _RAW) if call.has("raw") else [views.entry_view(entry)]

    def _all(self, prefix: str) -> Any:
        return [views.entry_view(entry) for entry in self._store.below(prefix)] or _NOT_FOUND

    def _names(self, call: Call) -> Any:
        names = names_until([entry.key for entry in self._store.below(call.tail)], call.tail, call.text("separator"))
        return names or ([] if not call.tail else _NOT_FOUND)


def names_until(keys: list[str], prefix: str, separator: str) -> list[str]:
    """Return sorted `keys`, cut after the first `separator` behind `prefix`, each once: what is in a folder."""
    if not separator:
        return keys
    rests = [key.removeprefix(prefix).partition(separator) for key in keys]
    return list(dict.fromkeys(f"{prefix}{name}{found}" for name, found, _ in rests))


def _require_key(call: Call) -> None:
    if not call.tail:
        raise Refusal(400, "Missing key name")


def _refuse_both(call: Call, *names: str) -> None:
    """Refuse two of the conditions at once, in Consul's words: all parameters, by name."""
    if sum(call.has(name) for name in names) > 1:
        raise Refusal(400, f"Conflicting flags: {urlencode(sorted(call.query))}")


def _number(call: Call, name: str) -> int:
    text = call.text(name)
    if not re.fullmatch(r"[0-9]{1,20}", text) or int(text) >= 2**64:
        raise Refusal(500, f'strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)
