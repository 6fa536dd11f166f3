"""TLS towards services, over our own connections: who is believed, who we are, and what a failed handshake costs."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.certificates import Authority
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.live_gateway import LiveGateway
from tests.support.wire import Listener, Wire, ok

BIG = bytes(range(256)) * 4096


class TlsServer:
    """Answers every request with ``fine``, or with what it got where there is a body; counts handshakes and remembers who came."""

    def __init__(self, pair: tuple[str, str], client_ca: str | None = None) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(*pair)
        if client_ca is not None:
            self.context.load_verify_locations(client_ca)
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.asked_for: list[str | None] = []
        self.clients: list[Any] = []
        self.requests = 0
        self.context.sni_callback = lambda _sock, name, _context: self.asked_for.append(name)

    def serve(self) -> None:
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(raw,), daemon=True).start()

    def _talk(self, raw: socket.socket) -> None:
        try:
            sock = self.context.wrap_socket(raw, server_side=True)
            self.clients.append(sock.getpeercert())
            with Wire(sock) as wire:
                while True:
                    request = wire.message()
                    self.requests += 1
                    wire.send(ok(request.body or b"fine"))
        except Exception:  # noqa: BLE001 whatever ends a connection ends it
            raw.close()


@contextmanager
def serving(pair: tuple[str, str], client_ca: str | None = None) -> Iterator[TlsServer]:
    server = TlsServer(pair, client_ca)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        thread.join(5)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def gateway_to(*ports: int, **tls: Any) -> LiveGateway:
    return LiveGateway({"services": {"orders": {"scheme": "https", "tls": tls}}}, orders=list(ports))


def test_requests_go_over_tls_and_a_handshake_serves_many(authority: Authority) -> None:
    """Bodies of any size, both ways; by the name that is configured."""
    name = "orders.internal"
    with serving(authority.issue(name)) as server, gateway_to(server.port, ca=authority.ca, server_name=name) as gateway:
        with gateway.connect() as client:
            for _ in range(3):
                assert client.get().message().body == b"fine"
            client.send(b"POST /api/orders/ HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % len(BIG))
            sending = threading.Thread(target=client.send, args=(BIG,))
            sending.start()
            assert client.message().body == BIG
            sending.join()
        gateway.assert_settled()
        assert (server.requests, server.asked_for) == (4, ["orders.internal"])


def test_without_a_name_the_address_is_compared(authority: Authority) -> None:
    """As the registry has it."""
    with serving(authority.issue("127.0.0.1")) as server, gateway_to(server.port, ca=authority.ca) as gateway, gateway.connect() as client:
        assert client.get().message().body == b"fine"


@pytest.mark.parametrize("case", ["wrong name", "unknown authority", "expired"])
def test_who_is_not_believed_gets_no_request(authority: Authority, tmp_path: Path, case: str) -> None:
    """502 without a word about certificates to the client, and with the reason for the operator; nothing of the request has left."""
    stranger = Authority(tmp_path, "stranger")
    pair = {
        "wrong name": authority.issue("other.internal"),
        "unknown authority": stranger.issue("127.0.0.1"),
        "expired": authority.issue("127.0.0.1", expired=True),
    }[case]
    with serving(pair) as server:
        with gateway_to(server.port, ca=authority.ca) as gateway, gateway.connect() as client:
            answer = client.get().message()
            [endpoint] = gateway.endpoints("orders")
            reason = str(endpoint.series.last_error)
        assert (answer.status, b"connect_failed" in answer.body, b"certificate" in answer.body) == (502, True, False)
        assert reason.startswith("connect_failed: TLS: the certificate is not accepted: ")
        assert server.requests == 0


def test_who_speaks_no_tls_is_not_waited_for(authority: Authority) -> None:
    """Whether it says something else or nothing at all: a failed connect within the time for connects."""
    said = (b"SSH-2.0-OpenSSH_9.2\r\n", b"")
    for words, status in zip(said, (502, 504), strict=True):
        with Listener() as listener:
            config = {"services": {"orders": {"scheme": "https", "timeout": {"connect": "300ms"}, "tls": {"ca": authority.ca}}}}
            with LiveGateway(config, orders=[listener.port]) as gateway, gateway.connect() as client:
                client.get()
                listener.accept().send(words)
                for _ in range(2):  # the same one again, for want of another
                    listener.accept().send(words)
                assert client.message().status == status


def test_an_instance_that_is_not_believed_costs_no_client_an_error(authority: Authority, tmp_path: Path) -> None:
    """A failed handshake is a failed connect, whatever the method: somebody else is asked."""
    stranger = Authority(tmp_path, "stranger")
    with serving(stranger.issue("127.0.0.1")) as bad, serving(authority.issue("127.0.0.1")) as good:
        with gateway_to(bad.port, good.port, ca=authority.ca) as gateway, gateway.connect() as client:
            for _ in range(6):
                client.send(b"POST /api/orders/ HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nhi")
                assert client.message().body == b"hi"
        assert (bad.requests, good.requests) == (0, 6)


def test_services_that_ask_who_we_are_are_told(authority: Authority, tmp_path: Path) -> None:
    """Mutual TLS; without a certificate of ours, or with somebody else's, there is no answer to be had."""
    ours = authority.issue("gateway.internal")
    theirs = Authority(tmp_path, "stranger").issue("gateway.internal")
    with serving(authority.issue("127.0.0.1"), client_ca=authority.ca) as server:
        with gateway_to(server.port, ca=authority.ca, cert=ours[0], key=ours[1]) as gateway, gateway.connect() as client:
            assert client.get().message().body == b"fine"
        assert dict(server.clients[0]["subjectAltName"])["DNS"] == "gateway.internal"
        for shown in ({}, {"cert": theirs[0], "key": theirs[1]}):
            with gateway_to(server.port, ca=authority.ca, **shown) as gateway, gateway.connect() as client:
                assert client.get().message().status == 502
        assert server.requests == 1


def test_whoever_asks_for_it_believes_anybody(tmp_path: Path) -> None:
    """Said aloud when the configuration is read."""
    from tests.lbgateway.config.reading import settings_of

    pair = Authority(tmp_path).issue("whatever")
    with serving(pair) as server, gateway_to(server.port, verify=False) as gateway, gateway.connect() as client:
        assert client.get().message().body == b"fine"
    text = "auth: {default: none}\nservices: {orders: {scheme: https, tls: {verify: false}}}"
    [warning] = settings_of(text).warnings
    assert warning.startswith("gw.yaml:2: services.orders.tls.verify: ")


def test_renewed_files_are_taken_over_by_a_reload(tmp_path: Path) -> None:
    """Under the same name: SIGHUP, and the new authority is believed."""
    before, after = Authority(tmp_path, "before"), Authority(tmp_path, "after")
    ca = tmp_path / "ca.pem"
    ca.write_text(Path(before.ca).read_text())
    with serving(after.issue("127.0.0.1")) as server:
        config = {
            "auth": {"default": "none"}, "discovery": {"provider": "static"},
            "services": {"orders": {"instances": [f"127.0.0.1:{server.port}"], "scheme": "https", "tls": {"ca": str(ca)}}},
        }  # fmt: skip
        with GatewayProcess(config) as gateway:
            url = f"{gateway.url}/api/orders/"
            assert httpx.get(url).status_code == 502
            ca.write_text(Path(after.ca).read_text())
            gateway.reload()
            wait_until(lambda: httpx.get(url).status_code == 200, 10, gateway.story)
