"""Health, decided: a table of what is known, and what is said."""

import pytest

from lbgateway.controlplane.health import health_of, readiness_of, without_addresses
from tests.support.fake_gateway import FakeGateway

FINE = {"orders": {"ready": 2}, "users": {"ready": 1, "critical": 1}}
SICK = {"orders": {"critical": 2}, "users": {"ready": 1}}


@pytest.mark.parametrize(
    ("state", "counts", "required", "status", "word"),
    [
        ("fresh", FINE, [], 200, "ok"),
        ("fresh", {}, [], 200, "ok"),
        ("fresh", SICK, [], 200, "ok"),
        ("fresh", FINE, ["orders"], 200, "ok"),
        ("fresh", SICK, ["orders"], 503, "failing"),
        ("fresh", SICK, ["users"], 200, "ok"),
        ("fresh", FINE, ["unheard-of"], 503, "failing"),
        ("fresh", {"orders": {"warming": 1}}, ["orders"], 200, "ok"),
        ("fresh", {"orders": {"suspect": 1}}, ["orders"], 200, "ok"),
        ("fresh", {"orders": {"ejected": 1, "draining": 1, "unhealthy": 1, "maintenance": 1}}, ["orders"], 503, "failing"),
        ("stale", FINE, [], 200, "degraded"),
        ("snapshot", FINE, ["orders"], 200, "degraded"),
        ("expired", FINE, [], 200, "degraded"),
        ("stale", SICK, ["orders"], 503, "failing"),
        (None, {}, [], 503, "failing"),
        (None, FINE, ["orders"], 503, "failing"),
    ],
)
def test_health_is_ok_degraded_or_failing(state, counts, required, status, word):
    """Old knowledge degrades, no knowledge or an unusable required service fails."""
    port = FakeGateway(counts=counts, required=required)
    port.discovery_view["state"] = state

    code, body = health_of(port)

    assert (code, body["status"]) == (status, word)


def test_health_shows_the_numbers_behind_it():
    """What an operator looks at next is in the same answer; gone instances are not counted."""
    port = FakeGateway(counts={"orders": {"ready": 2, "ejected": 1, "gone": 4}}, required=["auth"])

    _, body = health_of(port)

    assert body["version"] == port.version
    assert body["uptime_seconds"] == 12.346
    assert body["checks"]["discovery"] == {"provider": "consul", "state": "fresh", "age_seconds": 1.2, "last_error": None}
    assert body["checks"]["services"] == {"auth": {"healthy": 0, "total": 0}, "orders": {"healthy": 2, "total": 3}}


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("connect to http://10.0.0.5:8500/v1/health failed", "connect to [address] failed"),
        ("timeout after 5s reading 10.0.0.5:8500", "timeout after 5s reading [address]"),
        ("consul.internal:8500 refused", "[address] refused"),
        ("[::1]:8500 refused", "[address] refused"),
        ("fd00::1 is unreachable", "[address] is unreachable"),
        ("[fd00::1] refused", "[address] refused"),
        ("/etc/lbgateway/instances.yaml:12: orders[1].state: must be one of", "instances.yaml:12: orders[1].state: must be one of"),
        ("list.json:120: orders[1]: has the id of item 0: 10.0.0.5:80", "list.json:120: orders[1]: has the id of item 0: [address]"),
        ("500 rpc error: No cluster leader", "500 rpc error: No cluster leader"),
        ("status 403: Permission denied", "status 403: Permission denied"),
    ],
)
def test_health_tells_no_addresses(text, public):
    """Anyone may ask for it."""
    port = FakeGateway()
    port.discovery_view["last_error"] = text

    assert without_addresses(text) == public
    assert health_of(port)[1]["checks"]["discovery"]["last_error"] == public


@pytest.mark.parametrize(
    ("draining", "state", "status", "word"),
    [
        (False, "fresh", 200, "ready"),
        (False, "stale", 200, "ready"),
        (False, "snapshot", 200, "ready"),
        (False, None, 503, "starting"),
        (True, "fresh", 503, "draining"),
        (True, None, 503, "draining"),
    ],
)
def test_ready_means_send_me_clients(draining, state, status, word):
    """Not while draining, not before anything is known; an old answer is enough."""
    port = FakeGateway()
    port.is_draining = draining
    port.discovery_view["state"] = state

    assert readiness_of(port) == (status, {"status": word})


@pytest.mark.parametrize(
    ("keys", "discovery", "word"),
    [
        (None, "fresh", "ok"),
        ({"state": "fresh", "known": 2}, "fresh", "ok"),
        ({"state": "stale", "known": 2}, "fresh", "degraded"),
        ({"state": "stale", "known": 0}, "fresh", "degraded"),
        ({"state": "stale", "known": 2}, None, "failing"),
    ],
)
def test_an_issuer_whose_keys_cannot_be_fetched_degrades(keys, discovery, word):
    """Known keys go on serving; without any the gateway says 503 to tokens, but public paths work."""
    port = FakeGateway(counts=FINE)
    port.keys_view, port.discovery_view["state"] = keys, discovery
    _, body = health_of(port)
    assert (body["status"], body["checks"].get("keys")) == (word, keys)


@pytest.mark.parametrize(
    ("store", "on_failure", "required", "status", "word"),
    [
        ("up", "local", [], 200, "ok"),
        ("up", "closed", ["redis"], 200, "ok"),
        ("down", "local", [], 200, "degraded"),
        ("down", "open", [], 200, "degraded"),
        ("down", "closed", [], 503, "failing"),
        ("down", "local", ["redis"], 503, "failing"),
    ],
)
def test_limits_that_are_not_shared_degrade_and_limits_that_refuse_all_fail(store, on_failure, required, status, word):
    """An operator may also call Redis required; what is wrong with it is shown without its address."""
    port = FakeGateway(counts=FINE, required=required)
    port.redis_view = {"state": store, "on_store_failure": on_failure, "last_error": "Error 111 connecting to 10.0.0.9:6379."}

    code, body = health_of(port)

    assert (code, body["status"]) == (status, word)
    assert body["checks"]["redis"]["last_error"] == "Error 111 connecting to [address]."
    assert "redis" not in body["checks"]["services"]


def test_a_service_may_be_called_redis():
    """Where no store is."""
    port = FakeGateway(counts={"redis": {"critical": 1}}, required=["redis"])
    code, body = health_of(port)
    assert (code, body["checks"]["services"]) == (503, {"redis": {"healthy": 0, "total": 1}})


AWAY = {"store": "redis", "state": "down", "last_error": "Error 111 connecting to 10.0.0.1:6379."}
WELL = {"store": "redis", "state": "up", "last_error": None}
UNASKED = {"store": "redis", "state": "unknown", "last_error": None}
ELSEWHERE = {**AWAY, "store": "service"}


@pytest.mark.parametrize(
    ("authorities", "required", "word"),
    [
        ({"session": WELL}, [], "ok"),
        ({"session": UNASKED, "introspection": UNASKED}, [], "ok"),
        ({"session": AWAY}, [], "degraded"),
        ({"session": WELL, "introspection": ELSEWHERE}, [], "degraded"),
        ({"session": WELL}, ["redis"], "ok"),
        ({"session": AWAY}, ["redis"], "failing"),
        ({"session": UNASKED}, ["redis"], "failing"),
        ({"session": ELSEWHERE}, ["orders"], "degraded"),
        ({"session": ELSEWHERE}, ["redis"], "failing"),
        ({}, ["redis"], "failing"),
    ],
)
def test_whoever_knows_about_credentials_is_a_check(authorities, required, word):
    """Without them the gateway goes on with what it remembers, and lets nobody else in; addresses are for operators."""
    port = FakeGateway(counts=FINE, required=required)
    port.authority_views = authorities
    _, body = health_of(port)
    assert body["status"] == word
    assert {name: body["checks"][name]["state"] for name in authorities} == {name: each["state"] for name, each in authorities.items()}
    assert "10.0.0.1" not in str(body)


@pytest.mark.parametrize(("limits", "sessions", "word"), [("up", WELL, "ok"), ("down", WELL, "failing"), ("up", AWAY, "failing")])
def test_a_required_redis_is_that_of_limits_and_that_of_sessions(limits, sessions, word):
    """Each has its own check."""
    port = FakeGateway(counts=FINE, required=["redis"])
    port.redis_view = {"state": limits, "on_store_failure": "local", "last_error": None}
    port.authority_views = {"session": sessions}
    _, body = health_of(port)
    assert (body["status"], body["checks"]["redis"]["state"], body["checks"]["session"]["state"]) == (word, limits, sessions["state"])
