"""Can everybody read it: axe-core over each view, in both themes, and on a small screen; what comes over a view is in `test_notices`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from lbgateway.controlplane.page import STATIC
from lbgateway.controlplane.route_views import LimitView
from tests.browser.axe import assert_accessible
from tests.browser.conftest import NewPage
from tests.browser.control_plane import ControlPlane
from tests.support.fake_gateway import FakeGateway, instance, route

STATES = ("ready", "warming", "suspect", "ejected", "unhealthy", "critical", "maintenance", "draining", "gone")


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


GROUNDS = ("ground", "surface", "raised")
PAIRS = [
    *((text, ground, 4.5) for text in ("text", "quiet", "accent") for ground in GROUNDS),
    *((tone, f"{tone}-ground", 4.5) for tone in ("good", "info", "warn", "bad", "muted")),
    *((tone, ground, 4.5) for tone in ("bad", "info") for ground in GROUNDS),
    *((f"on-{button}", button, 4.5) for button in ("accent", "danger")),
    *((line, ground, 3.0) for line in ("field-edge", "accent") for ground in ("ground", "surface")),
]
"""What is written or drawn in which colour on which, and the contrast that WCAG 2.2 asks for (1.4.3, 1.4.11)."""


def luminance(colour: str) -> float:
    """Of ``#rrggbb``, relative to white (WCAG 2.2, "relative luminance")."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("above", "below", "least"), PAIRS)
def test_each_colour_stands_out_from_its_ground(above: str, below: str, least: float, theme: int):
    """Also where axe cannot judge it, because something else lies over a part of it."""
    colours = dict(re.findall(r"--([a-z-]+): light-dark\((#\w{6}, #\w{6})\)", (STATIC / "page.css").read_text()))
    light, dark = sorted((luminance(colours[name].split(", ")[theme]) for name in (above, below)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= least


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


@pytest.mark.parametrize("view", [services, explained, routes, events])
def test_axe_finds_nothing(plane: ControlPlane, new_page: NewPage, view: Callable[[Page], None]):
    """Neither on a large screen nor on a phone, where all is in reach of a thumb."""
    page = new_page(plane.url)
    view(page)
    assert_accessible(page)


def test_axe_finds_nothing_at_the_door(plane: ControlPlane, new_page: NewPage):
    """Also when the token was wrong."""
    page = new_page(plane.url, token=None)
    page.get_by_label("Admin token").fill("guess")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    assert_accessible(page)


def test_instances_stand_in_the_columns_of_their_service(plane: ControlPlane, new_page: NewPage):
    """One set of labels is for both, so the eye may run down a column."""
    page = new_page(plane.url)
    services(page)
    [columns] = (
        page.get_by_role("listitem")
        .filter(has_text="search-ready")
        .evaluate_all(
            """each => each.map((item) => {
            const left = (node) => Math.round(node.getBoundingClientRect().left);
            const places = (selector) => [...item.querySelectorAll(selector)].map(left);
            return { facts: places(".fact"), cells: places("tbody tr:first-child td") };
        })"""
        )
    )

    assert len(columns["facts"]) == 6
    assert columns["cells"] == columns["facts"]
