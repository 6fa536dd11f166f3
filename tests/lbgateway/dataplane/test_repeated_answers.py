"""An answer that begins like the one before is not parsed again: nobody may be able to tell, whatever comes in between."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.lbgateway.dataplane.test_connection import Line

HEAD = b"HTTP/1.1 200 OK\r\nServer: s\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 4\r\n\r\n"
WHOLE = HEAD + b"abcd"


def exchange_over(line: Line, *reads: bytes, head: bool = False) -> tuple[list[str], bytes, bool]:
    """The events of one exchange that gets `reads`, its body, and whether the connection may be used again."""
    sink = line.lease(head=head)
    line.gets(*reads)
    return sink.events, sink.body, line.reusable


def remembering() -> Line:
    line = Line()
    assert exchange_over(line, WHOLE) == (["200", "end"], b"abcd", True)
    return line


def test_a_repeated_answer_is_the_same_answer():
    """And the parser has not seen it: it is still at the begin of a message."""
    line = remembering()
    parser = line.connection.parser
    assert exchange_over(line, HEAD + b"efgh") == (["200", "end"], b"efgh", True)
    assert line.connection.parser is parser
    assert exchange_over(line, b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx") == (["404", "end"], b"x", True)


@pytest.mark.parametrize(
    ("reads", "events", "body", "reusable"),
    [
        ((HEAD + b"efghHTTP/1.1 200 OK\r\n",), ["200", "end"], b"efgh", False),
        ((HEAD + b"efghi",), ["200", "end"], b"efgh", False),
        ((HEAD + b"ef", b"gh"), ["200", "body", "end"], b"efgh", True),
        ((HEAD, b"efgh"), ["200", "body", "end"], b"efgh", True),
        ((b"HTTP/1.1 103 Early\r\n\r\n" + WHOLE,), ["103", "200", "end"], b"abcd", True),
        ((b"HTTP/1.1 103 Early\r\n\r\n", WHOLE), ["103", "200", "end"], b"abcd", True),
        ((WHOLE.replace(b"200 OK", b"500 No"),), ["500", "end"], b"abcd", True),
        ((WHOLE.replace(b"th: 4", b"th: 5") + b"!",), ["200", "end"], b"abcd!", True),
    ],
)
def test_what_is_not_quite_the_same_is_parsed(reads, events, body, reusable):
    """Bytes behind it, pieces of it, interim answers, another status, another length."""
    got = exchange_over(remembering(), *reads)
    assert (got[0], got[1], got[2]) == (events, body, reusable)


def test_an_answer_to_head_is_never_a_repeated_one():
    """The same head means another framing there, and what stands behind it is nobody's."""
    line = remembering()
    assert exchange_over(line, HEAD, head=True) == (["200", "end"], b"", True)
    assert exchange_over(line, WHOLE) == (["200", "end"], b"abcd", True)


def test_an_interim_answer_is_not_remembered_with_the_final_one():
    """Or the next exchange would not be told of it."""
    line = Line()
    both = b"HTTP/1.1 103 Early\r\n\r\n" + WHOLE
    assert exchange_over(line, both)[0] == ["103", "200", "end"]
    assert exchange_over(line, both)[0] == ["103", "200", "end"]


ANSWERS = st.sampled_from(
    [
        WHOLE,
        HEAD + b"efgh",
        HEAD + b"too much",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nabcd",
        b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 103 Early\r\n\r\n" + WHOLE,
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    ]
)


@hypothesis.given(st.lists(ANSWERS, min_size=1, max_size=6))
def test_a_connection_with_a_memory_tells_what_one_without_would(answers):
    """One connection for all of them, against a new one for each, until it may not be used again."""
    line = Line()
    for answer in answers:
        got = exchange_over(line, answer)
        assert got == exchange_over(Line(), answer)
        if not got[2]:
            break
