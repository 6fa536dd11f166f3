"""What an operator orders on the page, done by a real gateway; and what is said before and after."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from structlog.testing import capture_logs

from balancers.endpoint import EndpointState
from lbgateway.controlplane.port import ExplainedView
from lbgateway.errors import Forbidden
from tests.browser.conftest import NewPage
from tests.browser.control_plane import TOKEN, ControlPlane
from tests.support.fake_gateway import FakeGateway, instance
from tests.support.launch import wait_until
from tests.support.live_gateway import LiveGateway
from tests.support.upstream_server import UpstreamThread


@pytest.fixture
def live() -> Iterator[LiveGateway]:
    """A real gateway with two instances of ``orders``, both of which answer."""
    with UpstreamThread() as one, UpstreamThread() as two, LiveGateway({"admin": {"token": TOKEN}}, orders=[one.port, two.port]) as gateway:
        yield gateway


def open_instance(new_page: NewPage, url: str, number: int = 0) -> Page:
    page = new_page(f"{url}#/services/orders")
    page.get_by_role("row").nth(number + 1).get_by_role("button").click()
    return page


def order(page: Page, verb: str, fill: Any = lambda dialog: None) -> None:
    """Press the button, do what the question asks for, and confirm."""
    page.get_by_role("group", name="Actions").get_by_role("button", name=verb).click()
    question = page.get_by_role("dialog", name=re.compile(f"^{verb} "))
    fill(question)
    question.get_by_role("button", name=verb).click()
    expect(question).to_have_count(0)


def assert_state(gateway: LiveGateway, state: EndpointState) -> None:
    endpoint = min(gateway.endpoints("orders"), key=lambda each: each.id)
    wait_until(lambda: endpoint.state is state, 10, lambda: f"{endpoint!r} is not {state}")


@pytest.fixture
def audited() -> Iterator[list[Any]]:
    """What the log tells meanwhile."""
    with capture_logs() as events:
        yield events


def test_every_action_is_done_by_the_gateway(audited: list[Any], live: LiveGateway, new_page: NewPage):
    """Drain, undrain, eject, uneject and weight: the gateway obeys, the page shows it at once, and says by whom; so does the log."""
    page = open_instance(new_page, f"http://127.0.0.1:{live.port}/admin")
    drawer = page.get_by_role("dialog")
    expect(drawer).to_contain_text("Ready: takes its share.")

    order(page, "Drain")
    expect(drawer).to_contain_text("Drained by admin token.")
    assert_state(live, EndpointState.DRAINING)
    order(page, "Undrain")
    assert_state(live, EndpointState.READY)
    order(page, "Eject", lambda question: question.get_by_label("For how long").select_option("30 minutes"))
    expect(drawer).to_contain_text(re.compile(r"Ejected by admin token until \d\d:\d\d"))
    assert_state(live, EndpointState.EJECTED)
    order(page, "Uneject")
    assert_state(live, EndpointState.READY)
    order(page, "Set weight", lambda question: question.get_by_label("Weight", exact=True).fill("7"))
    expect(drawer).to_contain_text("Weight 7 by admin token.")
    order(page, "Set weight", lambda question: question.get_by_label("own again").check())
    expect(drawer).not_to_contain_text("Weight 7 by")

    expect(drawer.get_by_role("heading", name="Last changes")).to_be_visible()
    expect(drawer.get_by_role("list").first).to_contain_text("ejected")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Events").click()
    expect(page.get_by_role("region", name="Events")).to_contain_text("drain")
    expect(page.get_by_role("region", name="Events").get_by_role("listitem").filter(has_text="operator")).to_have_count(6)
    calls = [event for event in audited if event["event"] == "admin call"]
    assert [event["action"] for event in calls] == ["drain", "undrain", "eject", "uneject", "weight", "weight"]
    assert {event["who"] for event in calls} == {"admin token"}
    assert [event for event in audited if event["event"] == "admin access refused"] == []


def test_an_order_is_given_and_taken_back_without_a_mouse(live: LiveGateway, new_page: NewPage):
    """The question stands on no; after a yes the keyboard stands on what takes the order back."""
    page = open_instance(new_page, f"http://127.0.0.1:{live.port}/admin")
    actions = page.get_by_role("group", name="Actions")
    actions.get_by_role("button", name="Drain").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert_state(live, EndpointState.DRAINING)

    expect(actions.get_by_role("button", name="Undrain")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert_state(live, EndpointState.READY)


def test_traffic_is_seen_on_the_page(live: LiveGateway, new_page: NewPage):
    """Requests and their latency, a look later."""
    page = new_page(f"http://127.0.0.1:{live.port}/admin#/services/orders")
    lines = page.get_by_role("row")
    expect(lines.nth(1)).to_contain_text("ready")

    client = live.connect()
    for _ in range(40):
        client.get()
        assert client.message().status == 200

    expect(lines.nth(1)).to_contain_text(re.compile(r"\d ms / \d"))
    expect(page.get_by_role("listitem").filter(has_text="orders").first).to_contain_text(re.compile(r"Requests/s[1-9]"))


def test_picks_explain_themselves(live: LiveGateway, new_page: NewPage):
    """The last ones of an instance, each with its reason and with those that it was compared with."""
    page = open_instance(new_page, f"http://127.0.0.1:{live.port}/admin")
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_role("heading", name="Last picks")).to_be_visible()
    expect(drawer).to_contain_text("None was noted of late.")
    picks, client = drawer.locator("h3:has-text('Last picks') + ol > li"), live.connect()

    def noted() -> bool:
        client.get()
        return client.message().status == 200 and picks.count() > 0

    wait_until(noted, 20, lambda: "no pick is shown")
    one, two = sorted(endpoint.id for endpoint in live.endpoints("orders"))
    expect(picks.first).to_contain_text(re.compile(rf"\d\d:\d\d:\d\d.*; of 2: {one} \((cost [\d.e-]+, )?\d+ active\), {two} "))
    assert picks.count() <= 20


def test_lines_of_the_last_minutes_are_drawn(live: LiveGateway, new_page: NewPage):
    """Requests, errors and latency of a service, each with a line that grows with every look."""
    page = new_page(f"http://127.0.0.1:{live.port}/admin")
    lines = page.get_by_role("listitem").filter(has_text="orders").first.locator("svg.spark path.line")
    expect(lines).to_have_count(3)
    client = live.connect()
    points = "each => (each.getAttribute('d') || '').split('L').length"
    before = [line.evaluate(points) for line in lines.all()]
    for _ in range(20):
        client.get()
        client.message()

    def grown() -> bool:
        return all(line.evaluate(points) > count for line, count in zip(lines.all(), before, strict=True))

    wait_until(grown, 20, lambda: "no line grows")
    expect(lines.nth(1)).to_have_attribute("d", re.compile(r"^M[\d.]+ 22\.5"))  # no errors: along the ground
    below = page.get_by_role("listitem").filter(has_text="orders").first.locator("svg.spark path.under")
    expect(below.nth(2)).to_have_attribute("d", re.compile("^M.*L"))  # p50 under p99


class Sole(FakeGateway):
    """One service with one usable instance; every action is refused."""

    def __init__(self) -> None:
        super().__init__({"orders": [instance("orders-1", active_requests=2), instance("orders-2", state="critical")]})

    def act(self, name: str, instance: str, command: Any) -> ExplainedView | list[str]:
        super().act(name, instance, command)
        raise Forbidden("Not today.")


def test_before_the_last_instance_is_taken_out_that_is_said(new_page: NewPage):
    """The question tells what follows; no is no; and what the gateway refuses is told."""
    gateway = Sole()
    with ControlPlane(gateway) as plane:
        page = open_instance(new_page, plane.url)
        page.get_by_role("button", name="Drain").click()
        question = page.get_by_role("dialog", name="Drain orders-1?")
        expect(question).to_contain_text("finishes what runs there (2 requests now)")
        expect(question).to_contain_text("the last usable instance of orders")
        question.get_by_role("button", name="Cancel").click()
        expect(question).to_have_count(0)
        assert gateway.commands == []

        order(page, "Drain")
        expect(page.get_by_text("Drain orders-1: Not today.")).to_be_visible()
        assert [name for name, _ in gateway.commands] == ["orders/n1:orders-1"]
