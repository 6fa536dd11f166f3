"""Frames between the processes of a gateway: what goes in comes out, however the stream is cut, and nonsense is noticed."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.workers.frames import LONGEST, Broken, Decoder, framed

FACTS = st.dictionaries(st.text(max_size=5), st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=9), max_size=4)
FRAMES = st.lists(st.tuples(FACTS.map(lambda facts: {**facts, "kind": "any"}), st.binary(max_size=40)), max_size=5)


@given(FRAMES, st.integers(1, 60))
def test_frames_come_out_as_they_went_in(frames, piece):
    """Whole or byte by byte: facts, payload and order."""
    stream, decoder = b"".join(framed(facts, payload) for facts, payload in frames), Decoder()
    found = [frame for start in range(0, len(stream), piece) for frame in decoder.feed(stream[start : start + piece])]

    assert [(frame.facts, frame.payload) for frame in found] == frames


def head_of(length: int, json: int) -> bytes:
    return struct.pack(">II", length, json)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 200 OK\r\n",
        head_of(LONGEST + 1, 2),
        head_of(4, 9),
        head_of(6, 2) + b"[]",
        head_of(6, 2) + b"{}",
        head_of(6, 2) + b"\xff\xfe",
        head_of(14, 10) + b'{"kind":7}',
    ],
)
def test_what_is_no_frame_is_noticed(nonsense):
    """Nothing behind it could be understood; what came before is heard still."""
    feeding = Decoder().feed(framed({"kind": "first"}) + nonsense)

    assert next(feeding).facts == {"kind": "first"}
    with pytest.raises(Broken):
        next(feeding)
