"""What is kept of one key in Consul's key-value store. No I/O and no clock of its own, like `last_good`.

A key that is not there is 404 in Consul, and an answer like any other: it has an index to block on. What
its disappearance means is for the listener to decide.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from discovery.consul_body import decode_key
from discovery.consul_wire import next_index
from discovery.instance import KeyValue
from discovery.last_good import tell
from discovery.replay import Replay, told_of
from discovery.trust import Trust

if TYPE_CHECKING:
    from discovery.consul_wire import Read, Reply
    from discovery.protection import Recheck
    from discovery.source import KeyListener


def absence_is_an_answer(reply: Reply) -> Reply:
    """A 404 as an empty list, with its index; any other reply as it is."""
    return replace(reply, status=200, body=b"[]") if reply.status == 404 else reply


class LastGoodKey:
    """A `LastGood` for ``/v1/kv/KEY``. The listener hears of changes only, and once of each failure's text."""

    def __init__(self, key: str, listener: KeyListener, max_age_s: float) -> None:
        # for life
        self.key = key.strip("/")
        self.path = f"/v1/kv/{quote(self.key)}"
        self.listener = listener
        self.trust = Trust(max_age_s)
        # since the last good answer
        self._value: bytes | None = None
        self._index = 0
        self._replay = Replay()
        # since the last call of the listener
        self._told: KeyValue | None = None

    @property
    def recheck(self) -> Recheck | None:
        return self._replay.recheck

    def accept(self, reply: Reply, read: Read, now_s: float, *, recovering: bool) -> None:
        """Decode, publish. An answer that may be out of date can neither change nor take away what is known."""
        value, known = decode_key(reply.body), self.trust.state is not None
        if reply.dubious is not None:
            self.trust.outdated(reply.dubious, now_s, reply.as_of_s(now_s))
            if known:
                return
        index = next_index(reply.index, 0)
        if not reply.from_cache and self._replay.is_past(index, self._index, now_s, read.consistency, recovering=recovering):
            self.refuse(told_of(index, self._index), now_s)
            return
        if reply.dubious is None:
            self.trust.confirm(now_s)
        self._value, self._index = value, index
        self._tell(None)

    def refuse(self, error: str, now_s: float) -> None:
        """Note that a read failed; the value stays."""
        self.trust.failed(error, now_s)
        self._tell(error)

    def _tell(self, error: str | None) -> None:
        told, news = self._told, KeyValue(self.key, self._value, self._index, error)
        if told is None or (told.value, told.last_error) != (news.value, news.last_error):
            self._told = news
            tell(self.listener, news)
