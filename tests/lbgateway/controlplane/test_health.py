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
