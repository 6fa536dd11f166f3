"""Can everybody read it: axe-core over each view, in both themes, and on a small screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from lbgateway.controlplane.route_views import LimitView
from tests.browser.conftest import NewPage
from tests.browser.control_plane import ControlPlane
from tests.support.fake_gateway import FakeGateway, instance, route

STATES = ("ready", "warming", "suspect", "ejected", "unhealthy", "critical", "maintenance", "draining", "gone")
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """Every state there is, and an error of each kind."""
    gateway = FakeGateway(
        {
            "orders": [instance("orders-1", tags=["canary"], zone="a", requests_total=100, failures_total=3)],
            "search": [instance(f"search-{state}", state=state, reason="for a reason that is told here") for state in STATES],
        },
        unexposed=["ledger"],
    )
    limit: LimitView = {"requests": 100, "per_seconds": 1.0, "burst": 200, "key": "client", "shared": True}
    limited = route("/api/{service}", "orders", limit=limit, cors=["https://app.example"])
    gateway.route_views = [limited, route("/shop", "search", error="claims too much")]
    gateway.ring.tell("registry", service="orders", state="fresh", index=7, instances=2, added=["orders-2"], removed=[], changed=[])
    moved = {"from": "ready", "to": "ejected", "reason": "5 failures"}
    gateway.ring.tell("ejection", service="search", instance="search-1", node="n1", **moved)
    gateway.ring.tell("breaker", service="search", state="half_open", reason="its pause of 5 s is over")
    gateway.ring.tell("operator", service="orders", instance="orders-1", node="n1", by="ada", action="weight", weight=5)
    gateway.discovery_view.update(state="stale", last_error="connection refused")
    with ControlPlane(gateway) as running:
        yield running


def services(page: Page) -> None:
    page.get_by_role("button", name="Expand all").click()
    expect(page.get_by_role("row")).to_have_count(len(STATES) + 3)


def explained(page: Page) -> None:
    page.get_by_role("button", name="search", exact=True).click()
    page.get_by_role("button", name="search-ejected").click()
    expect(page.get_by_role("dialog")).to_contain_text("What the registry says")


def routes(page: Page) -> None:
    page.get_by_role("link", name="Routes").click()
    expect(page.get_by_text("claims too much")).to_be_visible()


def events(page: Page) -> None:
    page.get_by_role("link", name="Events").click()
    told = page.get_by_role("region", name="Events").get_by_role("listitem")
    expect(told.nth(0)).to_contain_text("orders weight orders-1 5 by ada")
    expect(told.nth(1)).to_contain_text("search is half open: its pause of 5 s is over")
    expect(told.nth(2)).to_contain_text("search search-1 ready → ejected: 5 failures")
    expect(told.nth(3)).to_contain_text("orders 2 instances; new: orders-2")


def assert_accessible(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("view", [services, explained, routes, events])
def test_axe_finds_nothing(plane: ControlPlane, new_page: NewPage, view: Callable[[Page], None]):
    """Contrast in both themes, names, roles, order of headings: WCAG 2.2 AA and the best practices of axe."""
    page = new_page(plane.url, color_scheme="light", reduced_motion="reduce")
    view(page)
    assert_accessible(page)
    page.emulate_media(color_scheme="dark")
    assert_accessible(page)


def test_axe_finds_nothing_at_the_door(plane: ControlPlane, new_page: NewPage):
    """Also when the token was wrong."""
    page = new_page(plane.url, token=None)
    page.get_by_label("Admin token").fill("guess")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    assert_accessible(page)


@pytest.mark.parametrize("view", [services, explained, routes, events])
def test_a_phone_needs_no_sideways_scrolling(plane: ControlPlane, new_page: NewPage, view: Callable[[Page], None]):
    """At 360 pixels all is in reach of a thumb, and axe is content there, too."""
    page = new_page(plane.url, viewport=PHONE, reduced_motion="reduce")
    view(page)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
    assert_accessible(page)


def test_instances_stand_in_the_columns_of_their_service(plane: ControlPlane, new_page: NewPage):
    """One set of labels is for both, so the eye may run down a column."""
    page = new_page(plane.url)
    services(page)
    [columns] = page.get_by_role("listitem").filter(has_text="search-ready").evaluate_all(
        """each => each.map((item) => {
            const left = (node) => Math.round(node.getBoundingClientRect().left);
            const places = (selector) => [...item.querySelectorAll(selector)].map(left);
            return { facts: places(".fact"), cells: places("tbody tr:first-child td") };
        })"""
    )

    assert len(columns["facts"]) == 6
    assert columns["cells"] == columns["facts"]
