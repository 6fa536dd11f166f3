"""``docs/rate-limits.md``: each of its configurations is run, and does what the page says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.launch import wait_until
from tests.support.live_gateway import LiveGateway
from tests.support.redis_server import RedisServer
from tests.support.tokens import SECRET, token
from tests.support.upstream_server import UpstreamServer, UpstreamThread, echo
from tests.support.wire import Message

PAGE = (Path(__file__).parents[2] / "docs" / "rate-limits.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
LIMITS, PROXIES, PREAMBLES, SHARED, *KINDS = BLOCKS
"""`KINDS` of Redis are run where the other tests of them are, in `test_redis_kinds`."""


@pytest.fixture
def service() -> Iterator[UpstreamServer]:
    with UpstreamThread(echo) as made:
        yield made


def running(text: str, service: UpstreamServer, **changes: Any) -> LiveGateway:
    """The page's words, but for where things are; who is let in is only said where tokens are checked."""
    config: dict[str, Any] = yaml.safe_load(text.replace("${JWT_SECRET}", SECRET).replace("${REDIS_PASSWORD}", "secret"))
    config["services"] = {"orders": {"instances": [service.address]}}
    config["discovery"] = {"provider": "static"}
    if "jwt" in config.get("auth", {}):
        config["auth"] = {"default": "required", **config["auth"]}
    for section, more in changes.items():
        config[section] = {**config.get(section, {}), **more}
    return LiveGateway(config)


def ask(gateway: LiveGateway, path: str = "/api/orders/", *lines: str) -> Message:
    with gateway.connect() as client:
        return client.send("\r\n".join((f"GET {path} HTTP/1.1", "Host: shop.example", *lines, "", "")).encode()).message()


def test_limits_of_all_and_of_one_route(service):
    """A burst for everybody, few exports, as many events as anybody likes."""
    with running(LIMITS, service) as gateway:
        first = ask(gateway)
        assert first.get("RateLimit-Policy") == '"default";q=100;w=1;lbgateway-burst=200'
        assert first.get("RateLimit") == '"default";r=199;t=1'
        assert [ask(gateway, "/api/orders/export").status for _ in range(6)] == [200] * 5 + [429]
        assert ask(gateway, "/api/orders/events").get("RateLimit") is None


def test_subjects_behind_proxies(service):
    """Counted by whom the token names, or where there is none by the address that the proxy vouches for."""
    with running(PROXIES, service) as gateway:
        ann, bob = (f"Authorization: Bearer {token(sub=who)}" for who in ("ann", "bob"))
        left = [ask(gateway, "/api/orders/", who).get("RateLimit") for who in (ann, ann, bob)]
        assert [each.partition(";t")[0] for each in left if each] == ['"default";r=999', '"default";r=998', '"default";r=999']
        assert ask(gateway).status == 401


def test_proxies_with_preambles(service):
    """The page's settings are taken; the way through a real door is in `test_attacks_addresses`."""
    with running(PREAMBLES, service) as gateway:
        settings = gateway.call(lambda running: running.settings)
        assert settings.server.proxy_protocol
        assert ask(gateway).get("RateLimit-Policy") == '"default";q=100;w=1'


def hourly(text: str, service: UpstreamServer, **limit: Any) -> LiveGateway:
    """With 100 requests an hour, and clients whose address the test decides."""
    return running(
        text, service, rate_limit={**limit, "default": {"requests": 100, "per": "1h"}}, server={"trusted_proxies": ["127.0.0.1/32"]}
    )


def passed(one: LiveGateway, other: LiveGateway, address: str) -> int:
    """How many requests of a client two gateways let pass that ask for 75 at each, in turns; no answer is an error."""
    statuses = [ask(each, "/api/orders/", f"X-Forwarded-For: {address}").status for _ in range(75) for each in (one, other)]
    assert set(statuses) <= {200, 429}
    return statuses.count(200)


def test_one_limit_over_several_gateways(service):
    """Two of them, one Redis with a password; what comes before its first answers proves nothing."""
    with RedisServer(options=("--requirepass", "secret")) as server:
        store = f"redis://:secret@127.0.0.1:{server.port}/0"
        with hourly(SHARED, service, store=store) as one, hourly(SHARED, service, store=store) as other:
            numbers = iter(range(1, 255))
            wait_until(lambda: 90 <= passed(one, other, f"198.51.100.{next(numbers)}") <= 110, 20, lambda: str(ask(one, "/health").body))
            health = one.call(lambda running: running.limiter.view())
    assert health == {"state": "up", "on_store_failure": "local", "last_error": None}


def test_every_configuration_of_the_page_is_here():
    """A new one takes a test along."""
    assert (len(BLOCKS), len(KINDS)) == (7, 3)
