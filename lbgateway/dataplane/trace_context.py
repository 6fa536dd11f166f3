"""Trace context: which trace a request belongs to, as ``traceparent`` and ``tracestate`` say (W3C Trace Context). Pure.

A ``traceparent`` that is malformed, or came twice, says nothing: then a new trace begins, and the ``tracestate`` that came
with it belongs to nobody and is dropped. A version that we do not know is read as far as it looks like ours (section 4.3).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLED = 0x01
"""The flag that says that whoever sent it records its span."""
RANDOM = 0x02
"""The flag that says that the trace's id was drawn by lot; it is passed on, since it is a fact about the id."""

TRACEPARENT, TRACESTATE = b"traceparent", b"tracestate"

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_NO_TRACE, _NO_SPAN = b"0" * 32, b"0" * 16


class Parent(NamedTuple):
    """Who asks: its trace and its span, in lower-case hexadecimal, with its flags, as far as they are passed on."""

    trace_id: bytes
    span_id: bytes
    flags: int
    state: bytes
    """Its ``tracestate``, one list of however many fields; empty if there was none."""


def parent_of(lines: Sequence[bytes]) -> Parent | None:
    """What a request's fields say of its trace; None if it belongs to none. `lines`: as in `RequestHead.lines`."""
    parents, states = [], []
    for index in range(1, len(lines) - 3, 4):
        name = lines[index]
        if len(name) == len(TRACEPARENT) and name.lower() == TRACEPARENT:
            parents.append(lines[index + 2])
        elif len(name) == len(TRACESTATE) and name.lower() == TRACESTATE:
            states.append(lines[index + 2])
    return _read(parents[0].strip(b" \t"), b",".join(states)) if len(parents) == 1 else None


def _read(value: bytes, state: bytes) -> Parent | None:
    found = _TRACEPARENT.fullmatch(value)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return Parent(trace_id, span_id, int(flags, 16) & (SAMPLED | RANDOM), state)


def parent_line(trace_id: bytes, span_id: bytes, flags: int) -> bytes:
    """The complete header line that names `span_id` as the parent of whatever is done for it."""
    return b"traceparent: 00-%b-%b-%02x\r\n" % (trace_id, span_id, flags)


def bound_of(ratio: float) -> int:
    """For `is_below`: a share of all traces (0..1)."""
    return round(ratio * (1 << 64))


def is_below(trace_id: bytes, bound: int) -> bool:
    """Whether a trace belongs to a share of all: by the last 64 bits of its id, as OpenTelemetry's ``TraceIdRatioBased`` does."""
    return int(trace_id[16:], 16) < bound
