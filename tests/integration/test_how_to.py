"""``docs/how-to.md`` and the result of ``docs/migrate-from-fastapi.md``: each configuration is run, and does what the page says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
import yaml

from tests.support.launch import wait_until
from tests.support.live_gateway import LiveGateway
from tests.support.redis_server import RedisServer
from tests.support.tokens import SECRET, token
from tests.support.upstream_server import UpstreamServer, UpstreamThread, answer, echo
from tests.support.wire import Message

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def configurations(page: str) -> dict[str, list[str]]:
    """Heading -> its YAML."""
    sections = re.split(r"^## (.+)$", (DOCS / page).read_text(), flags=re.MULTILINE)[1:]
    return {heading: BLOCK.findall(text) for heading, text in zip(sections[::2], sections[1::2], strict=True) if BLOCK.search(text)}


class World(NamedTuple):
    """A gateway with the page's configuration, and who is behind it: the instances at ports 9001 and 9002 of the page."""

    gateway: LiveGateway
    first: UpstreamServer
    second: UpstreamServer

    def ask(self, target: str, *lines: str, method: str = "GET", body: bytes = b"", host: str = "shop.example") -> Message:
        fields = [f"Host: {host}", *lines, *([f"Content-Length: {len(body)}"] if body else [])]
        with self.gateway.connect() as client:
            return client.send("\r\n".join((f"{method} {target} HTTP/1.1", *fields, "", "")).encode() + body).message()

    def shares(self, requests: int) -> tuple[int, int]:
        """How many of so many requests each of the two got."""
        before = len(self.first.requests), len(self.second.requests)
        assert {self.ask("/api/orders/").status for _ in range(requests)} == {200}
        return len(self.first.requests) - before[0], len(self.second.requests) - before[1]


def without_consul(world: World) -> None:
    wait_until(lambda: world.ask("/api/orders/").status == 200, 5, lambda: "the file's instances do not appear")
    first, second = world.shares(80)
    assert first > 0
    assert second > 0


def canary(world: World) -> None:
    assert world.shares(40) == (38, 2)


def streams(world: World) -> None:
    large = bytes(2 << 20)
    assert world.ask("/api/orders/x", method="POST", body=large).status == 413
    assert world.ask("/api/orders/uploads/x", method="POST", body=large).status == 200
    assert len(world.first.requests[-1].body) == len(large)


def choices(world: World) -> None:
    assert world.ask("/api/orders/").status == 200
    before = len(world.second.requests)
    assert world.ask("/api/reports/failing").status == 500
    assert len([each for each in world.second.requests[before:] if each.target == "/failing"]) == 1


def hosts(world: World) -> None:
    assert world.ask("/a").status == 200
    assert (world.first.requests[-1].target, world.first.requests[-1].header("X-Shop")) == ("/a", "main")
    moved = world.ask("/a?b=1", host="www.shop.example")
    assert (moved.status, moved.get("Location")) == (308, "https://shop.example/a?b=1")


def alerts(world: World) -> None:
    assert world.ask("/metrics").body.startswith(b"# HELP lbgateway_")
    health = json.loads(world.ask("/health").body)
    assert (health["status"], health["checks"]["services"]) == ("ok", {"orders": {"healthy": 1, "total": 1}})


STORIES: dict[str, Callable[[World], None]] = {
    "Run it without Consul": without_consul,
    "Canary": canary,
    "Uploads, streams, WebSockets, server-sent events": streams,
    "Choose time limits, retries and hedging": choices,
    "A host of its own, and a redirect": hosts,
    "Alerts": alerts,
}
PAGE = configurations("how-to.md")


async def service(request: Any, connection: Any) -> bool:
    """An echo that fails where it is asked to."""
    if request.target == "/failing":
        await connection.send(answer(b"", status="500 Internal Server Error"))
        return True
    return await echo(request, connection)


@pytest.fixture
def pair() -> Iterator[tuple[UpstreamServer, UpstreamServer]]:
    with UpstreamThread(service) as first, UpstreamThread(service) as second:
        yield first, second


@pytest.mark.parametrize("heading", STORIES)
def test_a_configuration_does_what_the_page_says(heading: str, tmp_path: Path, pair: tuple[UpstreamServer, UpstreamServer]) -> None:
    """As it is written there; only ports and places are this machine's."""
    ports = {"127.0.0.1:9001": pair[0].address, "127.0.0.1:9002": pair[1].address}
    ports["path: instances.yaml"] = f"path: {tmp_path}/instances.yaml"

    def here(text: str) -> str:
        for written, meant in ports.items():
            text = text.replace(written, meant)
        return text

    text, *others = PAGE[heading]
    for other in others:
        (tmp_path / other.partition("\n")[0].removeprefix("# ")).write_text(here(other))
    config = yaml.safe_load(here(text))
    with LiveGateway(config) as gateway:
        STORIES[heading](World(gateway, *pair))


def test_every_configuration_of_the_page_has_its_story() -> None:
    """A new one needs a new one here."""
    assert set(PAGE) == set(STORIES)


def test_the_gateway_that_was_a_fastapi_application(pair: tuple[UpstreamServer, UpstreamServer]) -> None:
    """Its clients find what they know: tokens with a session, public paths, limits, OAuth, CORS."""
    ((text,),) = configurations("migrate-from-fastapi.md").values()
    with RedisServer() as server, redis.Redis(port=server.port) as store:
        store.set("session:s1", "{}")
        given = {"${JWT_SECRET}": SECRET, ":6379": f":{server.port}", "127.0.0.1:9001": pair[0].address, "127.0.0.1:9002": pair[1].address}
        for written, meant in given.items():
            text = text.replace(written, meant)
        config = yaml.safe_load(text)
        config["auth"].setdefault("default", "required")
        with LiveGateway(config) as gateway:
            world = World(gateway, *pair)
            good, ended = (f"Authorization: Bearer {token(sid=sid)}" for sid in ("s1", "s2"))
            asked = [world.ask("/api/orders/1", *lines).status for lines in ((), (good,), (ended,))]
            assert asked == [401, 200, 401]
            told = world.ask("/api/orders/1", good, "Origin: https://app.example", "X-User-Id: root")
            assert (told.get("Access-Control-Allow-Origin"), pair[0].requests[-1].header("X-User-Id")) == ("https://app.example", "ann")
            assert told.get("RateLimit-Policy") is not None
            assert [world.ask(path).status for path in ("/api/orders/status", "/api/auth/login", "/oauth/token")] == [200, 200, 200]
            assert pair[1].requests[-1].target == "/oauth/token"
