"""``docs/tls.md``: each of its configurations is run by a gateway process, and does what the page says."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.test_tls_upstream import serving
from tests.support.certificates import Authority
from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import free_ports, wait_until
from tests.support.upstream_server import UpstreamServer, UpstreamThread, echo
from tests.support.wire import Cut, Wire

PAGE = (Path(__file__).parents[2] / "docs" / "tls.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CLIENTS, KNOWN_CLIENTS, SERVICES, CONSUL = BLOCKS
TOKEN = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
NAMES = ("gw.example", "127.0.0.1")
"""Of the gateway, for who asks by either."""


@pytest.fixture
def service() -> Iterator[UpstreamServer]:
    with UpstreamThread(echo) as made:
        yield made


def gateway_with(text: str, tls: ssl.SSLContext | None = None, **changes: Any) -> GatewayProcess:
    """The page's words, but for the address at which this machine listens, and for who is behind."""
    config: dict[str, Any] = {"auth": {"default": "none"}, **yaml.safe_load(text), **changes}
    for place in ("host", "port"):
        config.get("server", {}).pop(place, None)
    return GatewayProcess(config, tls=tls, environment={"CONSUL_HTTP_TOKEN": TOKEN})


def behind(service: UpstreamServer) -> dict[str, Any]:
    return {"discovery": {"provider": "static"}, "services": {"orders": {"instances": [service.address]}}}


def in_folder(gateway: GatewayProcess, authority: Authority, name: str, *names: str) -> None:
    """A certificate under the name that the page gives it, beside the configuration."""
    for made, kind in zip(authority.issue(*names), ("pem", "key"), strict=True):
        Path(made).rename(gateway.folder / f"{name}.{kind}")


def test_tls_towards_clients(service: UpstreamServer, tmp_path: Path) -> None:
    """HTTP/1.1 by ALPN, `https` for services and browsers, renewal by SIGHUP, and a half-done renewal is refused."""
    authority = Authority(tmp_path)
    context = authority.trusting()
    context.set_alpn_protocols(["h2", "http/1.1"])
    gateway = gateway_with(CLIENTS, context, **behind(service))
    in_folder(gateway, authority, "server", *NAMES)
    with gateway:
        with Wire.connect(gateway.port, tls=context) as client:
            assert client.sock.selected_alpn_protocol() == "http/1.1"  # type: ignore[attr-defined]  # it is an SSLSocket
            first = client.sock.getpeercert()["serialNumber"]  # type: ignore[attr-defined]  # as above
            answer = client.get().message()
        assert (answer.status, answer.get("Strict-Transport-Security")) == (200, "max-age=31536000")
        assert service.requests[-1].header("X-Forwarded-Proto") == "https"
        with Wire.connect(gateway.port) as plain:
            plain.send(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
            assert plain.ended()

        cert, key = map(Path, authority.issue(*NAMES))
        cert.rename(gateway.folder / "server.pem")
        gateway.reload()
        wait_until(lambda: "reload refused" in gateway.log(), 5, gateway.story)
        assert serial(gateway, context) == first
        key.rename(gateway.folder / "server.key")
        gateway.reload()
        wait_until(lambda: serial(gateway, context) != first, 5, gateway.story)


def serial(gateway: GatewayProcess, context: ssl.SSLContext) -> object:
    """Of the certificate that a new client is shown."""
    with Wire.connect(gateway.port, tls=context) as client:
        return client.sock.getpeercert()["serialNumber"]  # type: ignore[attr-defined]  # it is an SSLSocket


def test_only_clients_with_a_certificate(service: UpstreamServer, tmp_path: Path) -> None:
    """Of that authority: none, or somebody else's, is no way in."""
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    known = authority.trusting(authority.issue("client"))
    gateway = gateway_with(KNOWN_CLIENTS, known, **behind(service))
    in_folder(gateway, authority, "server", *NAMES)
    (gateway.folder / "ca.pem").write_text(Path(authority.ca).read_text())
    with gateway:
        assert gateway.get("/api/orders/")[0] == 200
        for shown in (None, stranger.issue("client")):
            context = authority.trusting(shown)
            with pytest.raises((ssl.SSLError, ConnectionError, Cut)), Wire.connect(gateway.port, tls=context) as client:
                client.get().message()
    assert len(service.requests) == 1


def test_tls_towards_services(tmp_path: Path) -> None:
    """By the name of the page, each side with its certificate; who bears another name gets no request, and `last_error` says why."""
    authority = Authority(tmp_path)
    with (
        serving(authority.issue("orders.internal"), client_ca=authority.ca) as right,
        serving(authority.issue("127.0.0.1"), client_ca=authority.ca) as wrong,
    ):
        gateway = gateway_with(SERVICES, discovery={"provider": "static"})
        in_folder(gateway, authority, "gateway", "gateway.internal")
        (gateway.folder / "ca.pem").write_text(Path(authority.ca).read_text())
        config = yaml.safe_load(gateway.file.read_text())
        config["services"]["orders"]["instances"] = [f"127.0.0.1:{each.port}" for each in (right, wrong)]
        gateway.write(config)
        with gateway:
            wait_until(lambda: gateway.get("/api/orders/")[0] == 200, 5, gateway.story)
            assert {gateway.get("/api/orders/")[0] for _ in range(10)} == {200}
            instances = gateway.json("/admin/upstreams/orders")["instances"]
        assert set(right.asked_for) == {"orders.internal"}
        assert dict(right.clients[0]["subjectAltName"])["DNS"] == "gateway.internal"
        assert wrong.requests == 0
        [error] = [each["last_error"] for each in instances if each["port"] == wrong.port]
        assert "certificate is not accepted" in str(error)


def test_tls_towards_consul(service: UpstreamServer, tmp_path: Path) -> None:
    """An agent that asks for token and certificate; without the certificate /health and `discovery.last_error` say what is wrong."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("127.0.0.1", "localhost", "server.dc1.consul")
    (https,) = free_ports(1)
    hcl = (
        f'ca_file = "{authority.ca}" cert_file = "{cert}" key_file = "{key}" verify_incoming_rpc = false verify_incoming_https = true '
        f'ports {{ https = {https} }} acl {{ enabled = true default_policy = "deny" tokens {{ master = "{TOKEN}" }} }}'
    )
    text = CONSUL.replace("consul.service.consul:8501", f"127.0.0.1:{https}")
    assert text != CONSUL
    with ConsulServer(hcl=hcl, token=TOKEN) as consul:
        consul.register("orders", service.port)
        gateway = gateway_with(text)
        in_folder(gateway, authority, "gateway", "gateway.internal")
        (gateway.folder / "ca.pem").write_text(Path(authority.ca).read_text())
        with gateway:
            wait_until(lambda: gateway.get("/api/orders/")[0] == 200, 15, gateway.story)
        gateway = gateway_with(text.replace(", cert: gateway.pem, key: gateway.key", ""))
        (gateway.folder / "ca.pem").write_text(Path(authority.ca).read_text())
        with gateway:
            for path, place in (
                ("/admin/upstreams", lambda body: body["discovery"]),
                ("/health", lambda body: body["checks"]["discovery"]),
            ):
                wait_until(lambda: place(gateway.json(path))["last_error"], 10, gateway.story)  # noqa: B023 called at once
            assert TOKEN not in gateway.log() + str(gateway.get("/health"))


def test_every_configuration_of_the_page_is_here() -> None:
    """A new one takes a test along."""
    assert len(BLOCKS) == 4
