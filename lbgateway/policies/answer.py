"""A ready answer that is no error: what a policy gives instead of asking a service."""

from __future__ import annotations

from lbgateway.problem import VIA, reason_phrase


class Answer:
    """`lines`: complete header lines, each with its CRLF, without the body's length. A 204 has no body."""

    __slots__ = ("_body", "_head", "status")

    def __init__(self, status: int, lines: bytes = b"", body: bytes = b"") -> None:
        self.status = status
        self._body = body
        length = b"" if status == 204 else b"Content-Length: %d\r\n" % len(body)
        self._head = b"HTTP/1.1 %d %b\r\n%b%bVia: %b\r\n" % (status, reason_phrase(status).encode(), lines, length, VIA.encode())

    def __repr__(self) -> str:
        return f"<Answer {self.status} {len(self._body)} bytes>"

    def render(
        self,
        request_id: bytes,
        *,
        date: bytes = b"",
        extra: bytes = b"",
        head_only: bool = False,
        close: bool = False,
        http10: bool = False,
    ) -> bytes:
        """The complete response; arguments as those of `problem.render`."""
        connection = b"Connection: close\r\n" if close else b"Connection: keep-alive\r\n" if http10 else b""
        body = b"" if head_only else self._body
        return b"%b%b%b%bX-Request-Id: %b\r\n\r\n%b" % (self._head, date, extra, connection, request_id, body)
