"""The page's routes: which request goes where, how often who may, and what is out of reach."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from lbgateway.controlplane.route_views import LimitView
from tests.browser.conftest import NewPage
from tests.browser.control_plane import ControlPlane
from tests.support.fake_gateway import FakeGateway, instance, route


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway({name: [instance(f"{name}-1")] for name in ("orders", "search", "users")}, unexposed=["ledger"])


@pytest.fixture
def plane(gateway: FakeGateway) -> Iterator[ControlPlane]:
    with ControlPlane(gateway) as running:
        yield running


def test_routes_show_their_errors_and_services_out_of_reach_what_to_do(gateway: FakeGateway, plane: ControlPlane, new_page: NewPage):
    """What is wrong comes first."""
    claims = route("/shop", "search", error="a tag may claim only /api/search", source="tags")
    gateway.route_views = [route("/api/{service}", "orders"), claims]
    page = new_page(plane.url)

    page.get_by_role("link", name="Routes").click()

    first = page.get_by_role("row").nth(1)
    expect(page.get_by_role("heading", name="1 route in force, 1 with an error")).to_be_visible()
    expect(first).to_contain_text(re.compile(r"/shop.*tags.*disabled.*a tag may claim only"))
    expect(page.get_by_text("give it the tag")).to_be_visible()


def test_routes_say_how_often_who_may(gateway: FakeGateway, plane: ControlPlane, new_page: NewPage):
    """The limit in force, the default's included, what a token must hold, and whose pages may call."""
    shared: LimitView = {"requests": 100, "per_seconds": 1.0, "burst": 200, "key": "client", "shared": True}
    own: LimitView = {"requests": 5, "per_seconds": 60.0, "burst": 5, "key": "claim:tenant", "shared": False}
    gateway.route_views = [
        route("/api/{service}", "orders", limit=shared, auth="required", scopes=["orders:read"]),
        route("/login", "users", limit=own, cors=["https://app.example"]),
        route("/open", "users"),
    ]
    page = new_page(plane.url)

    page.get_by_role("link", name="Routes").click()

    rows = page.get_by_role("row")
    with_scope = r"who has a token with orders:read.*100 per second and client, 200 at once.*shared with other routes"
    expect(rows.nth(1)).to_contain_text(re.compile(with_scope))
    expect(rows.nth(2)).to_contain_text(re.compile(r"pages of https://app\.example.*5 per minute and claim:tenant"))
    expect(rows.nth(3)).to_contain_text("no limit")


def test_what_limits_refuse_is_counted_and_where_they_are_counted_is_told(gateway: FakeGateway, plane: ControlPlane, new_page: NewPage):
    """Live, and what holds meanwhile when the store is away."""
    limit: LimitView = {"requests": 5, "per_seconds": 60.0, "burst": 5, "key": "client", "shared": False}
    gateway.route_views = [route("/login", "users", limit=limit, host="shop.example")]
    gateway.redis_view = {"state": "up", "on_store_failure": "local", "last_error": None}
    page = new_page(f"{plane.url}#/routes")
    row = page.get_by_role("row").nth(1)
    expect(row).to_contain_text("5 per minute and client")
    expect(row).not_to_contain_text("refused")
    expect(page.get_by_text("Limits are counted in Redis: up")).to_be_visible()

    gateway.numbers.metrics.rate_limited["shop.example/login"] = 1234
    gateway.redis_view["state"] = "down"

    expect(row).to_contain_text("1,234 refused so far")
    expect(page.get_by_text("Limits are counted in Redis: down Meanwhile, each gateway counts for itself.")).to_be_visible()
