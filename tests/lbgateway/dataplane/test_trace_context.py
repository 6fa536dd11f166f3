"""Trace context as W3C writes it: tables of what is read, and that whatever is written is read again."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.dataplane.trace_context import Parent, bound_of, is_below, parent_line, parent_of

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
GOOD = b"00-" + TRACE + b"-" + SPAN + b"-01"
HEX = st.text("0123456789abcdef", min_size=1).map(str.encode)


def lines(*fields: tuple[bytes, bytes]) -> list[bytes]:
    return [b"", *(part for name, value in fields for part in (name, b": ", value, b"\r\n"))]


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (GOOD, 1),
        (GOOD[:-2] + b"00", 0),
        (GOOD[:-2] + b"02", 2),
        (GOOD[:-2] + b"ff", 3),
        (b" " + GOOD + b"\t", 1),
        (b"cc" + GOOD[2:], 1),
        (b"cc" + GOOD[2:] + b"-what-the-future-brings", 1),
        (b"cc" + GOOD[2:] + b"-", 1),
    ],
)
def test_a_parent_is_read(value: bytes, flags: int):
    """A later version as far as it looks like ours, and of the flags those that we know."""
    assert parent_of(lines((b"Accept", b"*/*"), (b"TraceParent", value))) == Parent(TRACE, SPAN, flags, b"")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00",
        GOOD + b"-",
        GOOD + b"-more",
        GOOD + b" x",
        GOOD.upper(),
        GOOD[:-1],
        GOOD + b"0",
        b"ff" + GOOD[2:],
        b"cc" + GOOD[2:] + b".x",
        b"cc" + GOOD[2:] + b"0",
        b"0-" + GOOD[3:],
        GOOD.replace(b"-", b"_"),
        GOOD.replace(TRACE, b"0" * 32),
        GOOD.replace(SPAN, b"0" * 16),
        GOOD.replace(b"4b", b"4g"),
        GOOD[:-2] + b"1",
        GOOD[:-2] + b"0x",
        GOOD + b", " + GOOD,
    ],
)
def test_what_is_no_parent_says_nothing(value: bytes):
    """The rules of section 3.2: lower case, exact lengths, no id of zeros, no version ff."""
    assert parent_of(lines((b"traceparent", value), (b"tracestate", b"a=1"))) is None


def test_two_parents_are_none():
    """Nobody could say which one is meant."""
    assert parent_of(lines((b"traceparent", GOOD), (b"traceparent", GOOD))) is None


def test_the_state_of_several_fields_is_one_list():
    """In their order (section 3.3.1); names in any case."""
    fields = ((b"tracestate", b"a=1,b=2"), (b"traceparent", GOOD), (b"TraceState", b"c=3"))
    assert parent_of(lines(*fields)) == Parent(TRACE, SPAN, 1, b"a=1,b=2,c=3")


def test_a_state_without_a_parent_belongs_to_nobody():
    """There is no trace that it could be of."""
    assert parent_of(lines((b"tracestate", b"a=1"))) is None
    assert parent_of([b""]) is None


@given(HEX.map(lambda x: x.rjust(32, b"1")[:32]), HEX.map(lambda x: x.rjust(16, b"1")[:16]), st.integers(0, 3))
def test_what_is_written_is_read(trace_id: bytes, span_id: bytes, flags: int):
    """By ourselves, one gateway behind the other."""
    line = parent_line(trace_id, span_id, flags)
    name, _, value = line.removesuffix(b"\r\n").partition(b": ")
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]", value)
    if trace_id.strip(b"0") and span_id.strip(b"0"):
        assert parent_of(lines((name, value))) == Parent(trace_id, span_id, flags, b"")


@given(st.binary(max_size=80))
def test_no_bytes_are_a_mistake(value: bytes):
    """Anything may come."""
    found = parent_of(lines((b"traceparent", value)))
    assert found is None or found.trace_id in value


@pytest.mark.parametrize(("ratio", "ids"), [(0.0, (False, False, False)), (0.5, (True, False, False)), (1.0, (True, True, True))])
def test_a_share_of_traces_is_a_share_of_their_ids(ratio: float, ids: tuple[bool, ...]):
    """So that everybody who decides by the id decides alike: none, the lower half, all."""
    assert tuple(is_below(b"f" * 16 + low * 16, bound_of(ratio)) for low in (b"0", b"8", b"f")) == ids
