"""The operators' page in a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Response, expect

from lbgateway.controlplane.admin_auth import AdminAccess
from tests.browser.conftest import NewPage
from tests.browser.control_plane import TOKEN, ControlPlane
from tests.support.fake_gateway import FakeGateway, instance

MARKUP = '<img src="x" onerror="document.title=1">'


@pytest.fixture
def gateway() -> FakeGateway:
    services = {
        "orders": [instance("orders-1"), instance("orders-2", node="n2", address="10.0.0.8", active_requests=3)],
        "search": [
            instance("search-1"),
            instance("search-2", node="n2", state="critical", reason="HTTP GET /healthz: 503"),
            instance("search-3", node="n3", state="draining", tags=["canary"]),
        ],
        "users": [instance("users-1")],
    }
    return FakeGateway(services, unexposed=["ledger"])


@pytest.fixture
def plane(gateway: FakeGateway) -> Iterator[ControlPlane]:
    with ControlPlane(gateway) as running:
        yield running


def service(page: Page, name: str) -> Any:
    return page.get_by_role("listitem").filter(has=page.get_by_role("button", name=name, exact=True))


def test_the_shell_is_locked_down(plane: ControlPlane, new_page: NewPage):
    """Nothing inline, nothing from elsewhere, in no frame; and all of it is small."""
    sizes: list[int] = []
    hosts: set[str] = set()
    page = new_page("about:blank", token=None)

    def arrived(answer: Response) -> None:
        hosts.add(answer.url.split("/")[2])
        sizes.append(int(answer.headers.get("content-length", "0")))

    page.on("response", arrived)
    shell = page.goto(plane.url)
    page.get_by_label("Admin token").wait_for()

    assert shell is not None
    policy = shell.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert shell.headers["x-frame-options"] == "DENY"
    assert page.evaluate("document.querySelectorAll('[style], style, script:not([src])').length") == 0
    assert hosts == {plane.url.split("/")[2]}
    assert len(sizes) > 20
    assert sum(sizes) < 100 * 1024


def test_the_token_is_asked_for_once_and_kept_nowhere(plane: ControlPlane, new_page: NewPage):
    """A wrong one is told; the right one is in no storage, and a reload has forgotten it."""
    page = new_page(plane.url, token=None)
    page.get_by_label("Admin token").fill("guess")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("alert")).to_have_text("The token is not valid.")
    page.get_by_label("Admin token").fill(TOKEN)
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("button", name="orders")).to_be_visible()

    kept = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie, document.body.outerHTML, location.href])")
    page.reload()

    assert TOKEN not in kept
    expect(page.get_by_label("Admin token")).to_be_focused()


def test_opening_the_page_asks_for_nothing_that_is_refused(plane: ControlPlane, new_page: NewPage):
    """Not before there is a token: each refusal is a warning in somebody's log."""
    asked: list[str] = []
    page = new_page("about:blank", token=None)
    page.on("request", lambda request: asked.append(request.url.removeprefix(plane.url)))
    page.goto(plane.url)
    expect(page.get_by_label("Admin token")).to_be_focused()
    expect(page.get_by_role("alert")).to_be_hidden()
    assert [path for path in asked if not path.startswith("/assets/")] == [""]

    page.get_by_label("Admin token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="orders")).to_be_visible()
    assert "/upstreams?summary=true" in asked


def test_a_closed_gateway_says_how_to_open_it(gateway: FakeGateway, new_page: NewPage):
    """Without a token in the configuration no token helps."""
    with ControlPlane(gateway, AdminAccess()) as plane:
        page = new_page(plane.url, token=None)
        expect(page.get_by_role("alert")).to_contain_text("set admin.token")


def test_on_the_loopback_nobody_is_asked(gateway: FakeGateway, new_page: NewPage):
    """Where `admin.allow_loopback` is set, the page is simply there, also at the address of the data."""
    with ControlPlane(gateway, AdminAccess(allow_loopback=True)) as plane:
        page = new_page(f"{plane.url}/upstreams", token=None)
        expect(service(page, "orders")).to_contain_text("healthy")


def test_services_are_told_in_words_and_numbers(plane: ControlPlane, new_page: NewPage):
    """State, share of usable instances, rates and latencies; the title counts who needs attention."""
    page = new_page(plane.url)

    expect(service(page, "orders")).to_contain_text(re.compile(r"healthy.*2 of 2 usable.*12\.0.*1\.5 ms / 4\.0 ms", re.DOTALL))
    expect(service(page, "search")).to_contain_text(re.compile(r"degraded.*1 of 3 usable", re.DOTALL))
    expect(page.get_by_role("region", name="The gateway at a glance")).to_contain_text(re.compile(r"4 of 6.*1 critical, 1 draining.*fresh"))
    expect(page).to_have_title("(1) lbgateway")


def test_what_changes_is_shown_without_asking(gateway: FakeGateway, plane: ControlPlane, new_page: NewPage):
    """A new service, another state, a service that is gone; and the rest of the page stays the same elements."""
    page = new_page(plane.url)
    service(page, "orders").get_by_role("button", name="orders", exact=True).click()
    line = page.get_by_role("row").filter(has_text="orders-2")
    expect(line).to_contain_text("ready")
    page.evaluate("document.querySelector('.service').mark = 'the same'")

    gateway.known["orders"][1].update(state="ejected", reason="5 failures in a row", requests_total=30, failures_total=10)
    gateway.known["added"] = [instance("a-1")]
    del gateway.known["users"]

    expect(line).to_contain_text(re.compile(r"ejected.*5 failures in a row.*50\.0 %", re.DOTALL))
    expect(service(page, "orders")).to_contain_text("1 of 2 usable")
    expect(service(page, "added")).to_be_visible()
    expect(service(page, "users")).to_have_count(0)
    assert page.evaluate("[...document.querySelectorAll('.service')].filter((each) => each.mark).length") == 1


def test_the_filter_shows_what_is_not_ready(plane: ControlPlane, new_page: NewPage):
    """Only such services, opened, and of their instances only such."""
    page = new_page(plane.url)

    page.get_by_role("button", name="Not ready 1").click()

    expect(service(page, "orders")).to_have_count(0)
    expect(page.get_by_role("row")).to_have_count(3)  # with the heads
    expect(page.get_by_role("row").filter(has_text="search-2")).to_contain_text("HTTP GET /healthz: 503")
    expect(service(page, "search")).to_contain_text("1 other of this service is not shown")


def test_search_finds_services_and_instances(plane: ControlPlane, new_page: NewPage):
    """By name, address or tag; what is found inside of a service is shown at once."""
    page = new_page(plane.url)
    expect(service(page, "users")).to_be_visible()
    search, found, lines = page.get_by_role("searchbox"), page.locator(".toggle"), page.get_by_role("row")

    page.keyboard.press("/")
    page.keyboard.type("ord")
    expect(found).to_have_text(["orders"])
    expect(lines).to_have_count(0)

    for text, service_name, line in (("10.0.0.8", "orders", "orders-2"), ("canary search", "search", "search-3")):
        search.fill(text)
        expect(found).to_have_text([service_name])
        expect(lines).to_have_count(2)
        expect(lines.last).to_contain_text(line)

    search.fill("nowhere")
    expect(page.get_by_text("Nothing matches “nowhere”.")).to_be_visible()


def test_an_instance_explains_itself_to_the_keyboard(plane: ControlPlane, new_page: NewPage):
    """Open a service, an instance, and close it again without a mouse; its address can be passed on."""
    page = new_page(plane.url)
    page.get_by_role("button", name="search", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="search-2").focus()
    page.keyboard.press("Enter")

    drawer = page.get_by_role("dialog", name="search-2")
    expect(drawer).to_contain_text(re.compile(r"critical.*Critical\..*What the registry says.*http://10\.0\.0\.7:9001", re.DOTALL))
    expect(drawer.locator("h3:has-text('check') + p")).to_have_text("HTTP GET /healthz: 503")
    link = page.url
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()

    assert link.endswith("#/services/search/n2%3Asearch-2")
    expect(new_page(link).get_by_role("dialog", name="search-2")).to_be_visible()


def test_names_are_text_whatever_they_hold(gateway: FakeGateway, plane: ControlPlane, new_page: NewPage):
    """Anybody may register, and nobody may run a script here."""
    gateway.known[MARKUP] = [instance(MARKUP, reason=MARKUP, state="critical", tags=[MARKUP], meta={MARKUP: MARKUP})]
    page = new_page(plane.url)

    page.get_by_role("button", name="Not ready").click()
    page.get_by_role("row").get_by_role("button", name=MARKUP).click()

    expect(page.get_by_role("dialog")).to_contain_text(MARKUP)
    assert page.locator("main img").count() == 0
    assert page.title() == "(2) lbgateway"


def test_an_open_service_tells_of_its_retries_hedges_and_breaker(gateway: FakeGateway, plane: ControlPlane, new_page: NewPage):
    """Live: how much of the retry budget is left, how often somebody was asked beside another, why the breaker is open."""
    gateway.heads["orders"] = {
        "breaker": {"state": "half_open", "failure_ratio": 0.42},
        "retry_budget": {"available": 7, "spent_total": 1234},
        "hedge": {"after_ms": 12.4, "hedges_total": 5},
    }
    page = new_page(f"{plane.url}#/services/orders")

    told = "breaker half open, 42.0 % of the last answers failed · hedges: 5 so far, after 12 ms · discovery fresh"
    expect(page.get_by_text(f"Retries: 1,234 so far, 7 more at once · {told}")).to_be_visible()
    expect(service(page, "orders")).to_contain_text("breaker half open")

    gateway.heads["orders"] = {}
    expect(page.get_by_text("Retries: 3 so far, 10 more at once · breaker closed · discovery")).to_be_visible()


def test_a_lost_connection_is_told_and_comes_back(plane: ControlPlane, new_page: NewPage):
    """The page says since when it shows the past, and goes on by itself."""
    page = new_page(plane.url)
    expect(page.get_by_text("Live")).to_be_visible()

    plane.stop()
    expect(page.get_by_role("status").first).to_contain_text(re.compile("Connection lost: .* as of .* Trying again"))
    expect(page.get_by_text("Reconnecting")).to_be_visible()
    plane.start()

    expect(page.get_by_text("Connected again")).to_be_visible()
    expect(page.get_by_text("Live")).to_be_visible()


def test_a_restarted_gateway_is_no_fall_in_traffic(gateway: FakeGateway, plane: ControlPlane, new_page: NewPage):
    """Totals begin anew: that is told, and never a negative rate."""
    page = new_page(plane.url)
    service(page, "orders").get_by_role("button", name="orders", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="orders-1")).to_be_visible()

    gateway.id = "0badf00d"
    gateway.known["orders"][0].update(requests_total=1)

    expect(page.get_by_text("The gateway has restarted")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="orders-1").get_by_role("cell").nth(1)).to_have_text("0")


def test_the_theme_is_the_readers(plane: ControlPlane, new_page: NewPage):
    """As the system says, until somebody chooses; the choice outlives a reload."""
    page = new_page(plane.url, color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)

    page.get_by_role("button", name="Theme: auto").click()
    light = page.evaluate(ground)
    page.reload()

    assert dark != light
    assert page.evaluate(ground) == light
