"""Upgrades: a tunnel where both sides agree, an ordinary exchange where they do not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import websockets.asyncio.client
import websockets.asyncio.server
from websockets.exceptions import ConnectionClosed

from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.wire import Listener, Wire, ok

Pair = tuple[LiveGateway, Listener]

UPGRADE = ("Connection: keep-alive, Upgrade", "Upgrade: chat")
AGREED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\nX-Chat: 1\r\n\r\n"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with one_upstream({"services": {"orders": {"retry": {"attempts": 0}}}}) as made:
        yield made


def tunnel(pair: Pair, early: bytes = b"", rest: bytes = b"") -> tuple[Wire, Wire]:
    """Both ends of an agreed upgrade."""
    gateway, upstream = pair
    client = gateway.connect().get("/api/orders/chat", *UPGRADE)
    server = upstream.accept()
    request = server.message()
    assert (request.get("Connection"), request.get("Upgrade")) == ("Upgrade", "chat")
    if early:
        client.send(early)
    server.send(AGREED + rest)
    agreed = client.message()
    assert (agreed.status, agreed.get("Upgrade"), agreed.get("Connection"), agreed.get("X-Chat")) == (101, "chat", "Upgrade", "1")
    return client, server


async def _echo(socket: websockets.asyncio.server.ServerConnection) -> None:
    try:
        async for message in socket:
            if message == "close":
                await socket.close(4001, "as asked")
            await socket.send(message)
    except ConnectionClosed:
        return


@pytest.fixture
async def chat_url() -> AsyncIterator[str]:
    """The address of a WebSocket echo behind the gateway."""
    async with websockets.asyncio.server.serve(_echo, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with LiveGateway(orders=[port]) as gateway:
            yield f"ws://127.0.0.1:{gateway.port}/api/orders/chat"
            await asyncio.to_thread(gateway.assert_settled)


async def test_a_websocket_echoes_through_the_gateway(chat_url: str) -> None:
    """Text, bytes, large messages and pings, with a client and a server that know nothing of it."""
    async with websockets.asyncio.client.connect(chat_url) as socket:
        for message in ("hello", b"\x00\xff", "x" * 300_000, ""):
            await socket.send(message)
            assert await socket.recv() == message
        await (await socket.ping())


async def test_fragments_stay_fragments(chat_url: str) -> None:
    """Bytes are bytes: nobody in between puts frames together."""
    async with websockets.asyncio.client.connect(chat_url) as socket:
        await socket.send(["one ", "two ", "three"])

        assert await socket.recv() == "one two three"


async def test_either_side_closes_with_its_code(chat_url: str) -> None:
    """The closing handshake passes in both directions."""
    async with websockets.asyncio.client.connect(chat_url) as socket:
        await socket.send("close")
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as asked")

    async with websockets.asyncio.client.connect(chat_url) as socket:
        await socket.close(4002, "enough")
        assert socket.close_code == 4002


def test_bytes_sent_too_early_arrive_on_both_sides(pair: Pair) -> None:
    """Both may speak the new protocol in the same packet as the agreement."""
    client, server = tunnel(pair, early=b"early", rest=b"rest")

    assert client.exactly(4) == b"rest"
    assert server.exactly(5) == b"early"
    client.close()
    assert server.ended(1)


def test_early_bytes_in_the_same_packet_as_the_request(pair: Pair) -> None:
    """They wait for the upstream's word."""
    gateway, upstream = pair
    client = gateway.connect()
    client.send(b"GET /api/orders/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nearly")
    server = upstream.accept()
    server.message()
    assert server.silent(0.05)
    server.send(AGREED)

    assert client.message().status == 101
    assert server.exactly(5) == b"early"
    server.close()
    assert client.ended(1)


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden", "426 Upgrade Required"])
def test_a_refused_upgrade_is_an_ordinary_exchange(pair: Pair, status: str) -> None:
    """The client's connection stays, and what it sent behind is the next request."""
    gateway, upstream = pair
    with gateway.connect() as client:
        first = b"GET /api/orders/1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"
        client.send(first + b"GET /api/orders/2 HTTP/1.1\r\nHost: a\r\n\r\n")
        with upstream.accept() as server:
            server.message()
            server.send(ok(b"no", status=status))
            assert (answer := client.message()).body == b"no"
            assert answer.status == int(status[:3])
        with upstream.accept() as server:
            assert server.message().target == "/2"
            server.send(ok(b"two"))
            assert client.message().body == b"two"
            client.get("/api/orders/3")
            assert server.message().target == "/3"
            server.send(ok(b"three"))
            assert client.message().body == b"three"


@pytest.mark.parametrize("path", ["/api/nobody/", "/nowhere", "/health/live"])
def test_an_upgrade_that_the_gateway_answers_itself_keeps_the_connection(pair: Pair, path: str) -> None:
    """404, or the gateway's own page: nothing is switched, and the next request is read."""
    gateway, _ = pair
    with gateway.connect() as client:
        first = client.get(path, *UPGRADE).message()
        assert first.status in (200, 404)
        for _ in range(2):
            assert client.get(path, *UPGRADE).get(path).message().status == first.status
            assert client.message().status == first.status


@pytest.mark.parametrize("wanted", ["h2c", "H2C", "chat, h2c", "h2c,chat", "chat, H2c/1"])
def test_h2c_is_never_tunnelled(pair: Pair, wanted: str) -> None:
    """Whoever tunnels it lets a client speak to the upstream behind the gateway's back."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.get("/api/orders/1", "Connection: Upgrade, HTTP2-Settings", f"Upgrade: {wanted}", "HTTP2-Settings: AAMAAABkAAQAAP__")
        with upstream.accept() as server:
            request = server.message()
            assert not {"upgrade", "http2-settings", "connection"} & request.names()
            server.send(ok(b"plain"))
            assert client.message().body == b"plain"
            client.get("/api/orders/2")
            server.message()
            server.send(ok(b"two"))
            assert client.message().body == b"two"


@pytest.mark.parametrize("protocol", ["h2c", "chat"])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upgrade_with_a_body_is_a_plain_request(pair: Pair, protocol: str, chunked: bool) -> None:
    """Its body is read as its head declares, in whatever pieces it comes, and the next request begins behind it."""
    gateway, upstream = pair
    framing, body = ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n") if chunked else ("Content-Length: 5", b"hello")
    head = f"POST /api/orders/1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n{framing}\r\n\r\n".encode()
    with gateway.connect() as client:
        server: Wire | None = None
        for parts in ([head + body], [head, body], [head + body[:2], body[2:]]):
            client.send(*parts, pause_s=0.01)
            server = server or upstream.accept()
            request = server.message()
            assert (request.body, request.get("Upgrade")) == (b"hello", None)
            server.send(ok(b"plain"))
            assert client.message().body == b"plain"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
def test_a_switch_that_says_not_to_what_is_malformed(pair: Pair, answer: bytes) -> None:
    """502 at once, not a client that waits for a protocol nobody speaks."""
    gateway, upstream = pair
    with gateway.connect() as client, client.get("/api/orders/", *UPGRADE):
        upstream.serve(answer)

        assert client.message().status == 502


def test_a_switch_that_nobody_asked_for_is_malformed(pair: Pair) -> None:
    """An upstream cannot take a plain request's connection over."""
    gateway, upstream = pair
    with gateway.connect() as client:
        client.get()
        upstream.serve(AGREED)

        assert client.message().status == 502


def test_half_closing_passes_through(pair: Pair) -> None:
    """One side has no more to say; the other one still does."""
    client, server = tunnel(pair)
    client.send(b"bye").end()
    assert server.to_end() == b"bye"
    server.send(b"good bye").end()

    assert client.to_end() == b"good bye"


@pytest.mark.parametrize("who", ["client", "upstream"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_the_end_of_one_side_is_the_end_of_the_other(pair: Pair, who: str, how: str) -> None:
    """And the endpoint no longer counts the tunnel as a request."""
    gateway, _ = pair
    client, server = tunnel(pair)
    assert gateway.endpoints("orders")[0].active == 1
    one, other = (client, server) if who == "client" else (server, client)
    getattr(one, how)()

    assert other.ended(0.5)
    other.close()
    gateway.assert_settled()


def test_an_idle_tunnel_ends() -> None:
    """`timeout.tunnel_idle`, counted from the last byte in either direction."""
    with one_upstream({"services": {"*": {"timeout": {"tunnel_idle": "300ms"}}}}) as pair:
        client, server = tunnel(pair)
        for _ in range(3):
            time.sleep(0.2)
            server.send(b"!")
            assert client.exactly(1) == b"!"

        assert server.ended(1)
        assert client.ended(1)
        pair[0].assert_settled()
