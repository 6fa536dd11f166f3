"""What the httpx transport needs of httpx and httpcore, and how their errors read in our words."""

from __future__ import annotations

import httpx
import pytest

from lbgateway.dataplane.httpx_transport import left_over, translated
from lbgateway.errors import ConnectFailed, ConnectTimeout, UpstreamClosed, UpstreamMalformed
from tests.support.upstream_server import UpstreamServer, answer


@pytest.mark.parametrize(
    ("error", "sent", "ours"),
    [
        (TimeoutError(), False, ConnectTimeout),
        (httpx.ConnectTimeout("slow"), False, ConnectTimeout),
        (httpx.ConnectError("refused"), False, ConnectFailed),
        (httpx.ConnectError("refused"), True, ConnectFailed),
        (httpx.ProxyError("407"), False, ConnectFailed),
        (httpx.ReadError(""), False, ConnectFailed),
        (httpx.ReadError(""), True, UpstreamClosed),
        (httpx.WriteError(""), True, UpstreamClosed),
        (httpx.LocalProtocolError("stream closed"), True, UpstreamClosed),
        (httpx.RemoteProtocolError("Server disconnected without sending a response."), True, UpstreamClosed),
        (httpx.RemoteProtocolError("Server disconnected"), True, UpstreamClosed),
        (httpx.RemoteProtocolError("<StreamReset stream_id:1, error_code:2>"), True, UpstreamClosed),
        (httpx.RemoteProtocolError("<ConnectionTerminated error_code:0>"), True, UpstreamClosed),
        (httpx.RemoteProtocolError("illegal status line"), True, UpstreamMalformed),
    ],
)
def test_errors_in_our_words(error: Exception, sent: bool, ours: type[Exception]) -> None:
    """Once, at the edge; the cause is never empty."""
    made = translated(error, sent=sent)

    assert type(made) is ours
    assert made.cause


@pytest.mark.parametrize("extra", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"])
async def test_bytes_behind_an_answer_are_seen(extra: bytes) -> None:
    """httpcore's insides are as they were when this was written: otherwise no connection would be kept, and this fails."""

    async def too_much(request, connection) -> bool:
        await connection.send(answer(b"mine") + extra)
        return True

    async with UpstreamServer(too_much) as upstream, httpx.AsyncHTTPTransport() as transport:
        response = await transport.handle_async_request(httpx.Request("GET", f"http://127.0.0.1:{upstream.port}/"))
        body = b"".join([piece async for piece in response.stream])  # type: ignore[union-attr]  # an asynchronous one

        assert (body, left_over(response)) == (b"mine", bool(extra))
        await response.aclose()


async def test_where_httpcore_has_changed_nothing_is_kept() -> None:
    """A connection less is better than an answer that is somebody else's."""
    assert left_over(httpx.Response(200, content=b""))
