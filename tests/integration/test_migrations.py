"""``docs/migrate-from-traefik.md`` and ``-fabio.md``: their configuration and their registration, with a real Consul."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.upstream_server import Connection, Received, UpstreamThread, answer

DOCS = Path(__file__).parents[2] / "docs"


async def tell_path(request: Received, connection: Connection) -> bool:
    """Answers with the target as it arrived."""
    await connection.send(answer(request.target.encode()))
    return True


def block(page: str, kind: str) -> str:
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


def tags(page: str) -> tuple[str, ...]:
    """Those of the page's ``consul services register``."""
    words = shlex.split(block(page, "sh"))
    assert words[:5] == ["consul", "services", "register", "-name", "shop"]
    return tuple(value for option, value in pairwise(words) if option == "-tag")


@pytest.mark.parametrize("page", ["migrate-from-traefik.md", "migrate-from-fabio.md"])
def test_a_service_that_came_over_is_reached_where_it_was(page: str, consul_server: ConsulServer) -> None:
    """By the prefix of its tag, stripped, by its name, and by the hosts of the file; what the page redirects is redirected."""
    config: dict[str, Any] = yaml.safe_load(block(page, "yaml"))
    config["discovery"]["consul"]["url"] = consul_server.url
    config["server"].pop("tls", None)
    config["server"].pop("port", None)
    config["server"]["host"] = "127.0.0.1"
    config["services"].get("shop", {}).pop("health_check", None)
    with UpstreamThread(tell_path) as service, GatewayProcess(config) as gateway:
        consul_server.register("shop", service.port, tags=tags(page))
        wait_until(lambda: gateway.get("/shop/items") == (200, b"/items"), 10, gateway.story)
        assert gateway.get("/api/shop/items") == (200, b"/items")
        assert gateway.get("/v1/items", {"Host": "shop.example"})[0] == 200
        assert gateway.get("/shopping")[0] == 404
        if page == "migrate-from-fabio.md":
            assert gateway.get("/foo/bar/x") == (200, b"/bar/x")
            assert gateway.get("/old/x")[0] == 308
        else:
            assert gateway.get("/x", {"Host": "old.example"})[0] == 308
