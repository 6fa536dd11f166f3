"""How the processes of one gateway write to each other: a JSON object, and maybe bytes behind it. Pure.

A frame is the length of all that follows (4 bytes, big-endian), the length of the JSON (4 bytes), the JSON, the bytes.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LENGTHS = struct.Struct(">II")
LONGEST = 1 << 30
"""More is no frame of ours: the stream is broken."""

_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


class Frame(NamedTuple):
    """`facts` have a ``kind``, which says what the frame is about."""

    facts: dict[str, Any]
    payload: bytes


class Broken(Exception):
    """What comes is no frame, or nothing that this end could have been sent."""


def framed(facts: Mapping[str, Any], payload: bytes = b"") -> bytes:
    head = _json(facts).encode()
    return _LENGTHS.pack(len(head) + len(payload) + 4, len(head)) + head + payload


class Decoder:
    """Frames from the bytes of a stream, however they are cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete by now.

        Raises:
            Broken: nothing that follows can be understood.

        """
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _LENGTHS.size:
            length, head = _LENGTHS.unpack_from(buffer, start)
            if not 4 + head <= length <= LONGEST:
                raise Broken("lengths that cannot be")
            end = start + 4 + length
            if len(buffer) < end:
                break
            body = start + _LENGTHS.size
            yield Frame(_facts(bytes(buffer[body : body + head])), bytes(buffer[body + head : end]))
            start = end
        del buffer[:start]


def _facts(head: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(head)
    except ValueError:
        raise Broken("no JSON") from None
    if not isinstance(facts, dict) or not isinstance(facts.get("kind"), str):
        raise Broken("no kind")
    return facts
