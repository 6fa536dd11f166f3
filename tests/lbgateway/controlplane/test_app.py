"""The gateway's own paths over HTTP, in front of a gateway of the test's own."""

import httpx
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from lbgateway.controlplane.admin_auth import AdminAccess
from lbgateway.controlplane.app import ControlPlaneSettings, build_app
from lbgateway.controlplane.upstreams import how_to_expose
from tests.support.fake_gateway import FakeGateway, head, instance, route

OPEN = AdminAccess(token="s3cret")
ADMIN = {"Authorization": "Bearer s3cret"}
ADMIN_PATHS = (
    "/admin/upstreams",
    "/admin/upstreams/orders",
    "/admin/upstreams/orders/explain",
    "/admin/routes",
    "/admin/config",
)
"""And /admin/events, whose stream has no end: test_operations.py."""


def client(port: FakeGateway, *, peer: str = "192.0.2.7", **settings) -> httpx.AsyncClient:
    app = build_app(port, ControlPlaneSettings(**{"admin": OPEN, **settings}), wall=lambda: 0.0, new_request_id=lambda: "r-1")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(peer, 4711)), base_url="http://gateway")


def gateway(**changes) -> FakeGateway:
    services = {"orders": [instance("o-1"), instance("o-2", state="critical")]}
    return FakeGateway(services, **({"counts": {"orders": {"ready": 1, "critical": 1}}} | changes))


def assert_problem(answer: httpx.Response, status: int, slug: str) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["proxy-status"].startswith("lbgateway; error=")
    assert answer.json()["type"].endswith(f":{slug}")
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "r-1"


@pytest.mark.parametrize(("required", "status", "word"), [([], 200, "ok"), (["orders"], 200, "ok"), (["auth"], 503, "failing")])
async def test_health_answers_in_json_whatever_it_says(required, status, word):
    """A monitor reads the body of a 503 too, and whoever sees only the head knows whose it is (the contract, section 7)."""
    async with client(gateway(required=required)) as http:
        answer = await http.get("/health")

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["status"] == word
    marks = {name: answer.headers.get(name) for name in ("proxy-status", "retry-after")}
    ours = {"proxy-status": "lbgateway; error=destination_unavailable", "retry-after": "1"}
    assert marks == (ours if status == 503 else dict.fromkeys(marks))
    assert answer.json()["checks"]["services"]["orders"] == {"healthy": 1, "total": 2}


async def test_a_draining_gateway_is_live_but_not_ready():
    """An orchestrator takes it out and does not restart it."""
    port = gateway()
    port.is_draining = True

    async with client(port) as http:
        live, ready = await http.get("/health/live"), await http.get("/health/ready")

    assert (live.status_code, live.json()) == (200, {"status": "live"})
    assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
    assert (ready.headers["retry-after"], ready.headers["proxy-status"][:9]) == ("1", "lbgateway")


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics"])
async def test_a_load_balancer_may_ask_with_head(path):
    """The status without the body."""
    async with client(gateway()) as http:
        assert (await http.head(path)).status_code == 200


async def test_metrics_can_be_parsed_and_need_no_token():
    """Prometheus reads them from wherever they are configured to be."""
    async with client(gateway(), metrics_path="/internal/metrics") as http:
        answer = await http.get("/internal/metrics")
        elsewhere = await http.get("/metrics")

    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "lbgateway_build_info" in names
    assert_problem(elsewhere, 404, "no_route")


async def test_metrics_may_be_for_operators_only_or_off():
    """`public: false` asks for the admin token, `enabled: false` removes the path."""
    async with client(gateway(), metrics_public=False) as http:
        assert_problem(await http.get("/metrics"), 401, "unauthenticated")
        assert (await http.get("/metrics", headers=ADMIN)).status_code == 200
    async with client(gateway(), metrics_enabled=False) as http:
        assert_problem(await http.get("/metrics", headers=ADMIN), 404, "no_route")


@pytest.mark.parametrize("path", ADMIN_PATHS)
async def test_every_admin_path_is_guarded(path):
    """Closed without configuration, 401 without the token, open with it."""
    async with client(gateway(), admin=AdminAccess()) as http:
        assert_problem(await http.get(path), 403, "forbidden")
    async with client(gateway()) as http:
        refused = await http.get(path)
        assert_problem(refused, 401, "unauthenticated")
        assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert_problem(await http.get(path, headers=[("Authorization", "Bearer s3cret")] * 2), 401, "unauthenticated")
        assert (await http.get(path, headers=ADMIN)).status_code == 200


@pytest.mark.parametrize(("peer", "status"), [("127.0.0.1", 200), ("192.0.2.7", 403)])
async def test_no_header_makes_a_peer_local_or_remote(peer, status):
    """Only the address of the connection counts."""
    headers = {"X-Forwarded-For": "127.0.0.1" if status == 403 else "192.0.2.7", "Forwarded": "for=127.0.0.1", "X-Real-IP": "127.0.0.1"}

    async with client(gateway(), peer=peer, admin=AdminAccess(allow_loopback=True)) as http:
        answer = await http.get("/admin/upstreams", headers=headers)

    assert answer.status_code == status


async def test_upstreams_are_the_contract_s_document():
    """With the time of the answer, and filters taken from the query."""
    async with client(gateway()) as http:
        answer = await http.get("/admin/upstreams", params={"state": "critical"}, headers=ADMIN)
        bad = await http.get("/admin/upstreams", params={"limit": "many"}, headers=ADMIN)

    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["generated_at"] == "1970-01-01T00:00:00.000Z"
    assert answer.json()["services"] == [{**head("orders"), "instances": [instance("o-2", state="critical")]}]
    assert_problem(bad, 400, "bad_request")
    assert bad.json()["detail"].startswith("limit: ")


async def test_one_service_and_its_explanation():
    """The object of the list; `explain` adds why each instance may be picked or not."""
    async with client(gateway()) as http:
        one = (await http.get("/admin/upstreams/orders", headers=ADMIN)).json()
        explained = (await http.get("/admin/upstreams/orders/explain", headers=ADMIN)).json()

    assert one["name"] == explained["name"] == "orders"
    assert [each["id"] for each in one["instances"]] == ["o-1", "o-2"]
    assert [each["why"] for each in explained["instances"]] == ["ready", "critical"]
    assert {"generated_at", "gateway", "discovery"} <= explained.keys()


@pytest.mark.parametrize("path", ["/admin/upstreams/{}", "/admin/upstreams/{}/explain"])
async def test_an_unexposed_service_is_404_with_what_to_do(path):
    """An unknown one is just unknown."""
    async with client(gateway(unexposed=["users"])) as http:
        hidden = await http.get(path.format("users"), headers=ADMIN)
        unknown = await http.get(path.format("nothing"), headers=ADMIN)

    assert_problem(hidden, 404, "no_route")
    assert hidden.json()["detail"] == how_to_expose("users")
    assert_problem(unknown, 404, "no_route")
    assert unknown.json()["detail"] == 'There is no service "nothing". There are orders.'


async def test_routes_come_with_what_is_not_routed():
    """Compiled routes, what their limits have refused, and registered services that no route reaches."""
    port = gateway(unexposed=["users"])
    port.route_views = [route("/api/orders", "orders")]
    port.key_view = {"key": "k", "state": "absent", "error": None}
    port.numbers.metrics.rate_limited["/api/orders"] = 3

    async with client(port) as http:
        body = (await http.get("/admin/routes", headers=ADMIN)).json()

    assert body["routes"] == [route("/api/orders", "orders")]
    assert body["config_key"] == {"key": "k", "state": "absent", "error": None}
    assert body["unexposed"] == [{"service": "users", "what_to_do": how_to_expose("users")}]
    assert (body["rate_limited"], body["rate_limit_store"]) == ({"/api/orders": 3}, None)


async def test_the_configuration_is_shown():
    """The effective configuration as the gateway gives it."""
    async with client(gateway()) as http:
        config = await http.get("/admin/config", headers=ADMIN)

    assert config.json() == {"server": {"port": 8080}, "admin": {"token": "***"}}


async def test_one_address_is_data_for_programs_and_the_page_for_browsers():
    """The page without a token, the data never without one."""
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    async with client(gateway()) as http:
        page, closed = await http.get("/admin/upstreams", headers=browser), await http.get("/admin/upstreams")
        data = await http.get("/admin/upstreams", headers=ADMIN)

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.startswith("<!doctype html>")
    assert_problem(closed, 401, "unauthenticated")
    assert data.headers["content-type"] == "application/json"
    assert data.headers["vary"] == "Accept"


@pytest.mark.parametrize("path", ["/", "/nothing", "/docs", "/redoc", "/openapi.json", "/health/", "/admin/nothing"])
async def test_an_unknown_path_is_a_404_problem(path):
    """The framework's own pages are off too."""
    async with client(gateway()) as http:
        assert_problem(await http.get(path, headers=ADMIN), 404, "no_route")


@pytest.mark.parametrize("path", ["/health", "/metrics", "/admin/upstreams"])
async def test_a_method_that_is_not_served_is_a_405_problem_with_allow(path):
    """With the methods that are."""
    async with client(gateway()) as http:
        answer = await http.post(path, headers=ADMIN)

    assert_problem(answer, 405, "method_not_allowed")
    assert {method.strip() for method in answer.headers["allow"].split(",")} == {"GET", "HEAD"}


async def test_a_bug_is_a_500_problem():
    """Never a framework's page, never a traceback."""
    port = gateway()
    port.config = lambda: {}["10.0.0.7"]

    with structlog.testing.capture_logs():
        async with client(port) as http:
            answer = await http.get("/admin/config", headers=ADMIN)

    assert_problem(answer, 500, "internal_error")
    assert "10.0.0.7" not in answer.text
