"""The gateway in a real Consul: over TLS with a token, through reloads and losses, and out of it before its port is closed."""

from __future__ import annotations

import datetime as dt
import ipaddress
import signal
import time
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import free_ports, wait_until
from tests.support.traffic import REFUSED, Traffic, config_for
from tests.support.upstream_server import UpstreamThread

MASTER = "5f9a2f1e-0000-4000-8000-000000000001"
ACL = f'acl {{ enabled = true default_policy = "deny" tokens {{ master = "{MASTER}" agent = "{MASTER}" }} }}'


def entries(consul: ConsulServer) -> list[dict[str, Any]]:
    return list(consul.request("GET", "/v1/health/service/lbgateway"))


def statuses(consul: ConsulServer) -> set[str]:
    return {check["Status"] for entry in entries(consul) for check in entry["Checks"] if check["CheckID"] != "serfHealth"}


def config_of(consul: ConsulServer, **register: Any) -> dict[str, Any]:
    config = config_for(consul.url, logging={"access_log": False})
    config["discovery"]["consul"]["register"] = register
    return config


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "consul")])
    certified = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(certified.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    )
    return cert, private


def test_over_tls_with_a_token_it_is_found_and_passes_its_own_check(tmp_path):
    """A real agent with ACLs, whose certificate only the configured authority vouches for."""
    cert, key = certificate(tmp_path)
    (https,) = free_ports(1)
    hcl = f'{ACL} cert_file = "{cert}" key_file = "{key}" ports {{ https = {https} }}'
    with ConsulServer(hcl=hcl, token=MASTER) as consul:
        config = config_of(consul, tags=["edge"])
        config["discovery"]["consul"] |= {"url": f"https://127.0.0.1:{https}", "token": MASTER, "tls": {"ca": str(cert)}}
        with GatewayProcess(config) as gateway:
            wait_until(lambda: statuses(consul) == {"passing"}, 15, gateway.story)
            [entry] = entries(consul)
            service = entry["Service"]
            assert (service["Address"], service["Port"], service["Tags"]) == ("127.0.0.1", gateway.port, ["edge"])
            assert gateway.stop() == 0
            assert entries(consul) == []
            told = [event["event"] for event in gateway.events() if event.get("logger") == "discovery.registration"]
            assert [line.split(": ")[1].split()[0] for line in told] == ["registered", "deregistered"]
            assert MASTER not in gateway.log()


def test_a_token_without_the_right_is_told_once_and_the_gateway_serves():
    """Registering is not what it is for."""
    with ConsulServer(hcl=ACL, token=MASTER) as consul, GatewayProcess(config_of(consul)) as gateway:
        refused = "refuses the registration, trying on: "
        wait_until(lambda: refused in gateway.log(), 10, gateway.story)
        time.sleep(1)
        assert gateway.log().count(refused) == 1
        assert gateway.get("/health/live")[0] == 200
        assert gateway.stop() == 0


def test_it_comes_back_where_the_agent_has_forgotten_and_follows_reloads(consul_server):
    """A -dev agent forgets with every restart; SIGHUP changes the entry, and takes it away."""
    with GatewayProcess(config_of(consul_server, tags=["a"])) as gateway:
        wait_until(lambda: statuses(consul_server) == {"passing"}, 15, gateway.story)
        consul_server.restart(empty=True)
        wait_until(lambda: len(entries(consul_server)) == 1, 10, gateway.story)
        gateway.reload(config_of(consul_server, tags=["b"]))
        wait_until(lambda: [entry["Service"]["Tags"] for entry in entries(consul_server)] == [["b"]], 5, gateway.story)
        gateway.reload(config_for(consul_server.url, logging={"access_log": False}))
        wait_until(lambda: entries(consul_server) == [], 5, gateway.story)


def test_it_leaves_the_registry_first_and_serves_until_the_door_closes(consul_server):
    """Critical at once, requests answered all the while, gone in the end; and no request fails."""
    with UpstreamThread() as upstream, GatewayProcess(config_of(consul_server, drain_pause="700ms")) as gateway:
        consul_server.register("orders", upstream.port)
        wait_until(lambda: statuses(consul_server) == {"passing"} and gateway.get("/api/orders/")[0] == 200, 15, gateway.story)
        with Traffic(gateway.port, "/api/orders/", clients=2, until_refused=True) as traffic:
            wait_until(lambda: bool(traffic.told), 5, gateway.story)
            gateway.signal(signal.SIGTERM)
            told_s = time.monotonic()
            wait_until(lambda: "critical" in statuses(consul_server), 0.5, gateway.story)
            assert gateway.get("/health/ready")[0] == 503
            assert gateway.get("/health/live")[0] == 200
            assert gateway.wait() == 0
        assert entries(consul_server) == []
    assert traffic.bad((200, REFUSED)) == []
    assert max(told.at_s for told in traffic.told if told.outcome == 200) > told_s + 0.6
