"""`deploy/consul`, with a real Consul: least rights that suffice, and no more; tokens that can be rotated; TLS on all sides."""

from __future__ import annotations

import os
import subprocess
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from discovery import register
from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.real_servers import CONSUL, Binary, own_server
from tests.support.upstream_server import UpstreamThread

DEPLOY = Path(__file__).parents[2] / "deploy/consul"
ACL = 'acl { enabled = true default_policy = "deny" }'
SEEN_WITHIN_S = 10


def run(script: str, *arguments: str, **environment: str) -> str:
    """One of the scripts, with Consul's own command line on its PATH."""
    where = own_server(CONSUL)
    program = where if isinstance(where, Binary) else CONSUL.package()
    path = f"{Path(program.path).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(DEPLOY / script), *arguments], env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Guarded(NamedTuple):
    consul: ConsulServer
    tokens: Path

    def token(self, name: str) -> str:
        return (self.tokens / name).read_text().strip()

    def run(self, script: str, *arguments: str) -> str:
        return run(script, *arguments, TOKENS=str(self.tokens), CONSUL_HTTP_ADDR=self.consul.url, GRACE="1")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A Consul that lets nobody do anything, bootstrapped."""
    with ConsulServer(hcl=ACL) as consul:
        made = Guarded(consul, tmp_path_factory.mktemp("tokens"))
        said = made.run("acl/bootstrap.sh")
        assert said.startswith("policies and tokens are in place:")
        yield made


def gateway_config(guarded: Guarded) -> dict[str, Any]:
    consul = {
        "url": guarded.consul.url, "token": {"file": str(guarded.tokens / "gateway")}, "wait": "1s",
        "register": {"name": "lbgateway"}, "config_key": "lbgateway/routes",
    }  # fmt: skip
    return {"auth": {"default": "none"}, "discovery": {"consul": consul}}


def test_the_rights_of_the_policies_suffice(guarded: Guarded) -> None:
    """The gateway finds what `orders` has registered, registers itself, reads its key; nothing is missing in its own eyes."""
    with UpstreamThread() as upstream, GatewayProcess(gateway_config(guarded)) as gateway:
        port = int(upstream.address.rpartition(":")[2])
        with register("orders", port, address="127.0.0.1", consul_url=guarded.consul.url, token=guarded.token("orders")):
            wait_until(lambda: gateway.get("/api/orders/")[0] == 200, SEEN_WITHIN_S, gateway.story)
        guarded.consul.token = guarded.token("management")
        wait_until(lambda: bool(guarded.consul.request("GET", "/v1/health/service/lbgateway?passing")), SEEN_WITHIN_S, gateway.story)
        seen = gateway.json("/admin/upstreams")["discovery"]
        assert (seen["state"], seen["last_error"]) == ("fresh", None), gateway.story()
        assert gateway.json("/admin/routes")["config_key"]["state"] in ("absent", "applied"), gateway.json("/admin/routes")


def test_they_allow_nothing_else(guarded: Guarded) -> None:
    """`orders` registers nobody else, the gateway writes nothing, nobody reads without a token."""
    body = {"Name": "payments", "Port": 1}
    for name in ("orders", "gateway"):
        guarded.consul.token = guarded.token(name)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            guarded.consul.request("PUT", "/v1/agent/service/register", body)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            guarded.consul.request("PUT", "/v1/kv/lbgateway/routes", {"routes": []})
    guarded.consul.token = None
    assert guarded.consul.request("GET", "/v1/catalog/services") == {}


def test_a_second_bootstrap_changes_nothing(guarded: Guarded) -> None:
    """Whoever is not sure may run it again."""
    before = {file.name: file.read_text() for file in guarded.tokens.iterdir()}
    guarded.run("acl/bootstrap.sh")

    assert {file.name: file.read_text() for file in guarded.tokens.iterdir()} == before
    assert set(before) == {"management", "agent", "gateway", "orders", "admin"}


def test_a_token_is_rotated_while_the_gateway_runs(guarded: Guarded) -> None:
    """The new one is taken over from the file before the old one is revoked, and discovery goes on."""
    old = guarded.token("gateway")
    with GatewayProcess(gateway_config(guarded)) as gateway, UpstreamThread() as upstream:
        wait_until(lambda: gateway.json("/admin/upstreams")["discovery"]["state"] == "fresh", SEEN_WITHIN_S, gateway.story)
        assert "the old one is revoked" in guarded.run("acl/rotate.sh", "gateway")
        assert guarded.token("gateway") != old
        guarded.consul.token = old
        with pytest.raises(urllib.error.HTTPError, match="403"):
            guarded.consul.request("GET", "/v1/health/service/orders")
        port = int(upstream.address.rpartition(":")[2])
        with register("orders", port, address="127.0.0.1", consul_url=guarded.consul.url, token=guarded.token("orders")):
            wait_until(lambda: gateway.get("/api/orders/")[0] == 200, SEEN_WITHIN_S, gateway.story)
        assert gateway.json("/admin/upstreams")["discovery"]["state"] == "fresh", gateway.story()


def test_consul_and_the_gateway_know_each_other_by_certificates(tmp_path: Path) -> None:
    """The certificates of `make-certificates.sh`, the settings of `tls.hcl` with this machine's paths and ports."""
    made = run("tls/make-certificates.sh", str(tmp_path), "localhost")
    assert "gateway-key.pem" in made
    assert (tmp_path / "consul-key.pem").stat().st_mode & 0o077 == 0
    hcl = (DEPLOY / "tls/tls.hcl").read_text().replace("/consul/tls/", f"{tmp_path}/")
    ports, _, rest = hcl.partition("ports {")[2].partition("}")
    assert "http  = -1" in ports
    assert "https = 8501" in ports
    from tests.support.launch import free_ports

    (https,) = free_ports(1)
    with ConsulServer(hcl=f"{rest}\nports {{ https = {https} }}") as consul, UpstreamThread() as upstream:
        consul.register("orders", int(upstream.address.rpartition(":")[2]))
        files = {"ca": f"{tmp_path}/consul-agent-ca.pem", "cert": f"{tmp_path}/gateway.pem", "key": f"{tmp_path}/gateway-key.pem"}
        for tls, state in ((files, "fresh"), ({"ca": files["ca"]}, None)):
            config = {"auth": {"default": "none"}, "discovery": {"consul": {"url": f"https://localhost:{https}", "tls": tls}}}
            with GatewayProcess(config) as gateway:
                wait_until(lambda: told(gateway)["last_error"] or told(gateway)["state"], SEEN_WITHIN_S, gateway.story)
                assert told(gateway)["state"] == state, gateway.story()
                assert (gateway.get("/api/orders/")[0] == 200) is (state == "fresh")


def told(gateway: GatewayProcess) -> dict[str, Any]:
    seen: dict[str, Any] = gateway.json("/admin/upstreams")["discovery"]
    return seen
