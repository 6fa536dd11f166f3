"""Bodies as they come: events at once, slow sides hold back fast ones, and who leaves is noticed."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.wire import Listener, Wire, ok

Pair = tuple[LiveGateway, Listener]

NOTICED_WITHIN_S = 0.2
PIECE = b"x" * (1 << 18)
GIB = 1 << 30
MIB = 1 << 20
PASSES = {"native": (GIB, 8 * MIB), "httpx": (128 * MIB, 20 * MIB)}
"""How much passes, and by how much memory may grow: httpx loads half of itself with the first request."""


@pytest.fixture
def pair() -> Iterator[Pair]:
    with one_upstream() as made:
        yield made


def lines(*parts: str) -> bytes:
    return "\r\n".join((*parts, "", "")).encode()


def test_each_event_arrives_before_the_next_is_made(pair: Pair) -> None:
    """Server-sent events are worth nothing if they wait for company."""
    gateway, upstream = pair
    client = gateway.connect().get("/api/orders/events", "Accept: text/event-stream")
    server = upstream.accept()
    server.message()
    server.send(lines("HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked"))
    assert client.head().get("Content-Type") == "text/event-stream"
    for number in range(20):
        event = b"data: %d\n\n" % number
        server.send(b"%x\r\n%b\r\n" % (len(event), event))
        assert client.until(b"\n\n\r\n").endswith(event + b"\r\n")
    server.send(b"0\r\n\r\n")
    assert client.until(b"0\r\n\r\n")


def test_each_piece_of_an_upload_goes_on_at_once(pair: Pair) -> None:
    """The same in the other direction."""
    gateway, upstream = pair
    client = gateway.connect().send(lines("POST /api/orders/ HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"))
    server = upstream.accept()
    server.head()
    for number in range(20):
        piece = b"piece %03d" % number
        client.send(b"9\r\n%b\r\n" % piece)
        assert server.until(piece + b"\r\n")
    client.send(b"0\r\n\r\n")
    assert server.until(b"0\r\n\r\n")
    server.send(ok())
    assert client.message().status == 200


def test_both_directions_flow_at_once(pair: Pair) -> None:
    """An upstream may answer each piece as it comes."""
    gateway, upstream = pair
    client = gateway.connect().send(lines("POST /api/orders/ HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"))
    server = upstream.accept()
    server.head()
    server.send(lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))
    client.head()
    for _ in range(5):
        client.send(b"4\r\nping\r\n")
        assert server.until(b"ping\r\n")
        server.send(b"4\r\npong\r\n")
        assert client.until(b"pong\r\n")
    client.send(b"0\r\n\r\n")
    assert server.until(b"0\r\n\r\n")
    server.send(b"0\r\n\r\n")
    assert client.until(b"0\r\n\r\n")


def waiting(client: Wire, upstream: Listener) -> Wire:
    client.get()
    server = upstream.accept()
    server.message()
    return server


def amid_the_answer(client: Wire, upstream: Listener) -> Wire:
    server = waiting(client, upstream)
    server.send(lines("HTTP/1.1 200 OK", "Content-Length: 100"), b"some")
    client.head()
    return server


def amid_the_upload(client: Wire, upstream: Listener) -> Wire:
    client.send(lines("POST /api/orders/ HTTP/1.1", "Host: a", "Content-Length: 100"), b"some")
    server = upstream.accept()
    server.until(b"some")
    return server


def waiting_for_an_upgrade(client: Wire, upstream: Listener) -> Wire:
    client.get("/api/orders/", "Connection: Upgrade", "Upgrade: chat")
    server = upstream.accept()
    server.message()
    return server


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("begin", [waiting, amid_the_answer, amid_the_upload, waiting_for_an_upgrade])
def test_when_the_client_leaves_the_upstream_learns_it(pair: Pair, begin, how: str) -> None:
    """Nobody works for somebody who is gone; and nobody is blamed for it."""
    gateway, upstream = pair
    client = gateway.connect()
    server = begin(client, upstream)
    getattr(client, how)()

    assert server.ended(NOTICED_WITHIN_S)
    gateway.assert_settled()
    assert gateway.endpoints("orders")[0].series.failures == 0


def test_an_upload_that_nobody_reads_ends_with_its_client(pair: Pair) -> None:
    """Closing does not wait for the upstream to read what is still to be sent."""
    gateway, upstream = pair
    client = gateway.connect().send(lines("POST /api/orders/ HTTP/1.1", "Host: a", f"Content-Length: {GIB}"))
    server = upstream.accept()
    server.head()
    client.sock.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while True:
            client.send(PIECE)
    client.reset()

    gateway.call(lambda root: [each.transport.resume_reading() for each in root.plane.connections])
    gateway.assert_settled()
    assert server.ended(1)


def test_a_client_that_does_not_read_holds_back_the_upstream(pair: Pair) -> None:
    """What lies in the gateway is bounded; when the client reads on, all of it comes."""
    gateway, upstream = pair
    size = 30_000_000
    client = gateway.connect().get()
    server = upstream.accept()
    server.message()
    server.send(lines("HTTP/1.1 200 OK", f"Content-Length: {size}"))
    sending = threading.Thread(target=server.send, args=(b"x" * size,))
    sending.start()
    time.sleep(0.3)
    assert sending.is_alive()
    assert gateway.call(lambda root: max(each.transport.get_write_buffer_size() for each in root.plane.connections)) < 1 << 20

    client.head()
    assert len(client.exactly(size)) == size
    sending.join(5)


def test_an_upstream_that_does_not_read_holds_back_the_client(pair: Pair) -> None:
    """The same for an upload."""
    gateway, upstream = pair
    size = 30_000_000
    client = gateway.connect().send(lines("PUT /api/orders/ HTTP/1.1", "Host: a", f"Content-Length: {size}"))
    server = upstream.accept()
    sending = threading.Thread(target=client.send, args=(b"x" * size,))
    sending.start()
    time.sleep(0.3)
    assert sending.is_alive()

    server.head()
    assert len(server.exactly(size)) == size
    sending.join(5)
    server.send(ok(b"thanks"))
    assert client.message().body == b"thanks"
    client.get()
    assert server.message().target == "/"
    server.send(ok())
    assert client.message().status == 200


class Endless(threading.Thread):
    """An upstream for one request: takes a body whatever its size, answers with one of `size` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(daemon=True)
        self.size = size
        self.taken = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]

    def run(self) -> None:
        with self.listener, Wire(self.listener.accept()[0]) as server:
            expected = int(server.head().get("Content-Length") or 0)
            self.taken = drain(server, expected)
            server.send(lines("HTTP/1.1 200 OK", f"Content-Length: {self.size}", "Connection: close"))
            for _ in range(self.size // len(PIECE)):
                server.send(PIECE)


def drain(wire: Wire, size: int, now_and_then: Callable[[], object] = bool) -> int:
    """Read `size` bytes into nowhere."""
    buffer = memoryview(bytearray(1 << 20))
    taken, reads = len(wire.rest), 0
    wire.rest = b""
    while taken < size and (more := wire.sock.recv_into(buffer)):
        taken += more
        reads += 1
        if reads % 256 == 0:
            now_and_then()
    return taken


def gateway_before(port: int, transport: str) -> GatewayProcess:
    return GatewayProcess(
        {
            "discovery": {"provider": "static"},
            "auth": {"default": "none"},
            "services": {"orders": {"instances": [f"127.0.0.1:{port}"], "transport": transport}},
        }
    )


@pytest.mark.parametrize("direction", ["upload", "download"])
def test_a_gibibyte_passes_in_eight_mebibytes(direction: str, transport: str) -> None:
    """The gateway's memory does not grow with what passes."""
    size, growth_bytes = PASSES[transport]
    upload = size if direction == "upload" else 0
    server = Endless(size - upload)
    server.start()
    with gateway_before(server.port, transport) as gateway, Wire.connect(gateway.port) as client:
        for _ in range(20):
            gateway.get("/health/live")
        seen = [gateway.rss_bytes()]
        client.send(lines("POST /api/orders/ HTTP/1.1", "Host: a", f"Content-Length: {upload}"))
        for number in range(upload // len(PIECE)):
            client.send(PIECE)
            if number % 256 == 0:
                seen.append(gateway.rss_bytes())
        assert client.head().status == 200
        got = drain(client, size - upload, lambda: seen.append(gateway.rss_bytes()))
        seen.append(gateway.rss_bytes())
    server.join(5)

    assert (server.taken, got) == (upload, size - upload)
    assert max(seen) - seen[0] < growth_bytes
