"""A ready answer as bytes."""

from __future__ import annotations

from lbgateway.policies.answer import Answer


def test_an_answer_is_complete():
    """Length, id, and what the gateway adds to every answer."""
    answer = Answer(200, b"Content-Type: text/plain\r\n", b"closed for today")

    assert answer.render(b"abc", date=b"Date: now\r\n", extra=b"Vary: Origin\r\n") == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16\r\nVia: 1.1 lbgateway\r\n"
        b"Date: now\r\nVary: Origin\r\nX-Request-Id: abc\r\n\r\nclosed for today"
    )


def test_a_head_request_gets_the_length_and_no_body():
    """As for every other answer (RFC 9110, 9.3.2)."""
    answer = Answer(200, b"", b"12345").render(b"abc", head_only=True)

    assert answer.endswith(b"Content-Length: 5\r\nVia: 1.1 lbgateway\r\nX-Request-Id: abc\r\n\r\n")


def test_204_has_neither_body_nor_length():
    """RFC 9110, 8.6."""
    assert b"Content-Length" not in Answer(204).render(b"abc")


def test_the_client_learns_what_becomes_of_its_connection():
    """Where it would assume otherwise."""
    assert b"Connection: close\r\n" in Answer(204).render(b"abc", close=True, http10=True)
    assert b"Connection: keep-alive\r\n" in Answer(204).render(b"abc", http10=True)
    assert b"Connection" not in Answer(204).render(b"abc")
