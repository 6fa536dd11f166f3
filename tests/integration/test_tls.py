"""TLS towards clients: what is spoken, who is let in, and that all the rest is the same over it."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets.asyncio.client
import websockets.asyncio.server

from lbgateway.telemetry.access_log import AccessLog
from tests.support.certificates import Authority
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.live_gateway import LiveGateway, one_upstream
from tests.support.upstream_server import UpstreamServer, UpstreamThread, slow
from tests.support.wire import Cut, Listener, Wire, ok

Pair = tuple[LiveGateway, Listener]
BIG = bytes(range(256)) * 4096 * 4


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Iterator[Pair]:
    with one_upstream(server_of(authority, max_body="1MiB", header_timeout="300ms")) as pair:
        yield pair


def server_of(authority: Authority, **more: Any) -> dict[str, Any]:
    cert, key = authority.issue("gw.example", "127.0.0.1")
    return {"server": {"tls": {"cert": cert, "key": key}, **more}}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_request_over_tls_is_a_request(pair: Pair, authority: Authority, version: ssl.TLSVersion) -> None:
    """The service learns what the client spoke, and the browser to come back the same way."""
    context = authority.trusting()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    with pair[0].connect(tls=context) as client:
        assert client.sock.selected_alpn_protocol() == "http/1.1"  # type: ignore[attr-defined]  # it is an SSLSocket
        client.get()
        server = pair[1].accept()
        assert server.message().get("X-Forwarded-Proto") == "https"
        server.send(ok(b"fine", "Connection: close"))
        answer = client.message()
    assert (answer.status, answer.body, answer.get("Strict-Transport-Security")) == (200, b"fine", "max-age=31536000")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(pair: Pair, authority: Authority, version: ssl.TLSVersion) -> None:
    """RFC 8996, to a client that would speak nothing else."""
    context = authority.trusting()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        pair[0].connect(tls=context)


def test_plain_http_gets_no_answer_and_no_patience(pair: Pair) -> None:
    """Nothing that could be mistaken for HTTP; and silence is not waited for either."""
    for said in (b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n", b""):
        with pair[0].connect() as client:
            client.send(said)
            assert client.ended(within_s=3)
    assert pair[0].bugs == []


def test_bodies_of_any_size_pass_both_ways(pair: Pair, authority: Authority) -> None:
    """What TLS cuts into records arrives as it was."""
    with pair[0].connect(tls=authority.trusting()) as client:
        body = BIG[: 1 << 20]
        sending = threading.Thread(
            target=client.send, args=(b"POST /api/orders/ HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % len(body), body)
        )
        sending.start()
        server = pair[1].accept()
        assert server.message().body == body
        sending.join()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(BIG), BIG)
        assert client.message().body == BIG


def test_an_answer_before_the_end_of_the_request_arrives(pair: Pair, authority: Authority) -> None:
    """TLS knows no half-closed connection, and a reset must not overtake what was said."""
    with pair[0].connect(tls=authority.trusting()) as client:
        client.send(b"POST /api/orders/ HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % (1 << 21), BIG[: 1 << 16])
        refused = client.message()
    assert (refused.status, refused.get("Connection")) == (413, "close")


def test_a_client_that_leaves_is_noticed(pair: Pair, authority: Authority) -> None:
    """The upstream's side is closed, however the client went."""
    for leave in ("close", "reset"):
        client = pair[0].connect(tls=authority.trusting()).get()
        server = pair[1].accept()
        server.message()
        getattr(client, leave)()
        assert server.ended()
    pair[0].assert_settled()


async def test_a_websocket_passes(authority: Authority) -> None:
    """Over TLS to the gateway, and without it from there on."""

    async def echo(peer: websockets.asyncio.server.ServerConnection) -> None:
        async for message in peer:
            await peer.send(message)

    async with websockets.asyncio.server.serve(echo, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with LiveGateway(server_of(authority), orders=[port]) as gateway:
            url, tls = f"wss://127.0.0.1:{gateway.port}/api/orders/chat", authority.trusting()
            async with asyncio.timeout(10), websockets.asyncio.client.connect(url, ssl=tls, compression=None) as client:
                for message in ("small", "x" * 300_000):
                    await client.send(message)
                    assert await client.recv() == message
            await asyncio.to_thread(gateway.assert_settled)


def test_only_who_shows_a_certificate_of_the_authority_gets_in(authority: Authority, tmp_path: Path) -> None:
    """None, one of somebody else, one that is over: no answer. A good one: as usual."""
    stranger = Authority(tmp_path, "stranger")
    config = server_of(authority)
    config["server"]["tls"]["client_ca"] = authority.ca
    with one_upstream(config) as pair:
        for shown in (None, stranger.issue("me"), authority.issue("me", expired=True)):
            with pytest.raises((ssl.SSLError, ConnectionError, Cut)):  # with TLS 1.3 the client hears of it after its first words
                pair[0].connect(tls=authority.trusting(shown)).get().message()
        assert pair[1].nobody()
        pair[0].gateway.plane.access_log = AccessLog(log := io.BytesIO())
        with pair[0].connect(tls=authority.trusting(authority.issue("me"))) as client:
            client.get()
            server = pair[1].accept()
            server.message()
            server.send(ok(b"fine", "Connection: close"))
            assert client.message().body == b"fine"
    assert [json.loads(line)["certificate"].partition("=")[0] for line in log.getvalue().splitlines()] == ["OU"]


@pytest.fixture
def upstream() -> Iterator[UpstreamServer]:
    with UpstreamThread(slow(0.6)) as server:
        yield server


def serial_of(port: int, context: ssl.SSLContext) -> str:
    """Which certificate is shown to a new client."""
    with Wire.connect(port, tls=context) as client:
        certificate = client.sock.getpeercert()  # type: ignore[attr-defined]  # it is an SSLSocket
    return str(certificate["serialNumber"])


def test_certificates_are_renewed_under_load_and_bad_ones_are_refused(authority: Authority, upstream: UpstreamServer) -> None:
    """SIGHUP with other contents under the same names: new clients see them, who is here loses nothing; half a renewal changes nothing."""
    config = {
        **server_of(authority), "auth": {"default": "none"}, "discovery": {"provider": "static"},
        "services": {"orders": {"instances": [upstream.address]}},
    }  # fmt: skip
    cert, key = config["server"]["tls"]["cert"], config["server"]["tls"]["key"]
    context = authority.trusting()
    with GatewayProcess(config, tls=context) as gateway, Wire.connect(gateway.port, tls=context) as client:
        first = serial_of(gateway.port, context)
        client.get()  # runs while the certificate changes
        new_cert, new_key = authority.issue("gw.example", "127.0.0.1")
        Path(cert).write_bytes(Path(new_cert).read_bytes())
        gateway.reload()
        wait_until(lambda: "reload refused" in gateway.story(), 5, gateway.story)
        assert "does not belong to the certificate" in gateway.story()
        assert serial_of(gateway.port, context) == first

        Path(key).write_bytes(Path(new_key).read_bytes())
        gateway.reload()
        wait_until(lambda: serial_of(gateway.port, context) != first, 5, gateway.story)
        assert client.message().status == 200
        assert client.get().message().status == 200  # the old connection goes on


def test_a_stop_finishes_what_runs(authority: Authority, upstream: UpstreamServer) -> None:
    """As without TLS: the answer comes whole, the door is closed, exit code 0."""
    config = {
        **server_of(authority), "auth": {"default": "none"}, "discovery": {"provider": "static"},
        "services": {"orders": {"instances": [upstream.address]}},
    }  # fmt: skip
    context = authority.trusting()
    with GatewayProcess(config, tls=context) as gateway, Wire.connect(gateway.port, tls=context) as client:
        client.get()
        wait_until(lambda: upstream.open_connections() > 0, 5, gateway.story)
        gateway.signal(signal.SIGTERM)
        answer = client.message()
        assert (answer.status, answer.get("Connection")) == (200, "close")
        assert gateway.wait() == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", gateway.port))
