"""What comes over the page: questions before an order, how it went, and that the connection is lost. All must reach everybody."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from lbgateway.controlplane.port import Command, ExplainedView, OrderView
from lbgateway.errors import Forbidden
from tests.browser.axe import assert_accessible
from tests.browser.conftest import NewPage
from tests.browser.control_plane import ControlPlane
from tests.support.fake_gateway import FakeGateway, instance
from tests.support.launch import wait_until

NOTHING = OrderView(drained_by=None, ejected_by=None, ejected_until=None, weight=None, weighed_by=None)


class Gateway(FakeGateway):
    """Each of its instances is in a state of its own; `refusing` lets no order pass."""

    def __init__(self) -> None:
        super().__init__(
            {
                "orders": [
                    instance("orders-1", active_requests=2, zone="a"),
                    instance("orders-2", state="draining", reason="drained by ada"),
                    instance("orders-3", state="ejected", reason="5 failures in a row, the last one no answer"),
                ],
                "users": [instance("users-1"), instance("users-2")],
            }
        )
        self.orders["orders-2"] = OrderView(**{**NOTHING, "drained_by": "ada", "weight": 3, "weighed_by": "ada"})  # type: ignore[typeddict-item]  # its keys
        self.refusing = False

    def act(self, name: str, instance: str, command: Command) -> ExplainedView | list[str]:
        if self.refusing:
            raise Forbidden("Not today.")
        return super().act(name, instance, command)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def plane(gateway: Gateway) -> Iterator[ControlPlane]:
    with ControlPlane(gateway) as running:
        yield running


def opened(page: Page, name: str) -> Locator:
    """The instance of that name, on the screen with all that can be ordered of it."""
    service = name.partition("-")[0]
    page.goto(f"{page.url.partition('#')[0]}#/services/{service}/n1:{name}")
    drawer = page.get_by_role("dialog", name=name)
    expect(drawer).to_contain_text("What the registry says")
    return drawer


def asked(page: Page, name: str, verb: str) -> Locator:
    opened(page, name).get_by_role("button", name=verb, exact=True).click()
    question = page.get_by_role("dialog", name=re.compile(rf"^{verb} .*{name}\?$"))
    expect(question).to_be_visible()
    return question


def ordered(page: Page, name: str, verb: str) -> None:
    asked(page, name, verb).get_by_role("button", name=verb, exact=True).click()
    expect(page.locator(".toast")).to_have_count(1)


def lost(page: Page) -> None:
    """The page cannot reach the gateway any more."""
    page.context.set_offline(True)
    expect(page.get_by_text("Reconnecting")).to_be_visible()


# -- accessibility ---------------------------------------------------------------------------------


def refused(page: Page, gateway: Gateway) -> None:
    gateway.refusing = True
    ordered(page, "orders-1", "Drain")


def restarted(page: Page, gateway: Gateway) -> None:
    gateway.id = "0badf00d"
    expect(page.get_by_text("The gateway has restarted")).to_be_visible()


def lost_with_an_instance_open(page: Page, gateway: Gateway) -> None:
    opened(page, "users-1")
    lost(page)


MOMENTS: dict[str, Callable[[Page, Gateway], Any]] = {
    "drain the last one": lambda page, _: expect(asked(page, "orders-1", "Drain")).to_contain_text("last usable instance"),
    "drain": lambda page, _: asked(page, "users-1", "Drain"),
    "undrain": lambda page, _: asked(page, "orders-2", "Undrain"),
    "eject": lambda page, _: asked(page, "users-1", "Eject"),
    "uneject": lambda page, _: asked(page, "orders-3", "Uneject"),
    "set weight": lambda page, _: asked(page, "orders-2", "Set weight"),
    "an order is carried out": lambda page, _: ordered(page, "users-1", "Drain"),
    "an order changes little": lambda page, _: ordered(page, "orders-3", "Uneject"),
    "an order is refused": refused,
    "the gateway has restarted": restarted,
    "the connection is lost": lambda page, _: lost(page),
    "the connection is lost with an instance open": lost_with_an_instance_open,
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_axe_finds_nothing(moment: str, gateway: Gateway, plane: ControlPlane, new_page: NewPage):
    """In each question, each message, each trouble."""
    page = new_page(plane.url)
    MOMENTS[moment](page, gateway)
    assert_accessible(page)


def heard(page: Page) -> str:
    """What the accessibility tree holds: what is outside of a modal dialog is not in it, whatever the eye sees."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return "\n".join(node["name"]["value"] for node in nodes if not node["ignored"] and "name" in node)


def test_what_comes_of_an_order_is_heard_and_within_reach(gateway: Gateway, plane: ControlPlane, new_page: NewPage):
    """Also while an instance is open, which shuts off the rest of the page; a refusal stays until it has been seen, here or there."""
    page = new_page(plane.url)
    refused(page, gateway)
    assert "Drain orders-1: Not today." in heard(page)
    assert "Routes" not in heard(page)

    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    wait_until(lambda: {"Drain orders-1: Not today.", "Routes"} <= set(heard(page).splitlines()), 5, lambda: heard(page))
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".toast")).to_have_count(0)


def test_messages_do_not_push_each_other_away(gateway: Gateway, plane: ControlPlane, new_page: NewPage):
    """A refusal is still there when something else is done; of many the last four are."""
    page = new_page(plane.url)
    refused(page, gateway)
    gateway.refusing = False
    for told in range(2, 7):
        asked(page, "users-1", "Drain").get_by_role("button", name="Drain").click()
        expect(page.locator(".toast")).to_have_count(min(told, 4))
        page.keyboard.press("Escape")
        expect(page).to_have_url(re.compile("#/services$"))  # or the same address would be asked for again, which opens nothing
    expect(page.get_by_text("Not today.")).to_have_count(0)


# -- what is said ----------------------------------------------------------------------------------


def test_a_question_says_of_whom_and_how_far_it_reaches(plane: ControlPlane, new_page: NewPage):
    """Two services may have instances of one name, and there may be other gateways."""
    question = asked(new_page(plane.url), "orders-1", "Drain")
    expect(question).to_contain_text("of orders · 10.0.0.7:9001 · n1 · zone a")
    expect(question).to_contain_text("On this gateway only")


def test_who_is_back_by_order_may_still_be_out(gateway: Gateway, plane: ControlPlane, new_page: NewPage):
    """The answer to an order says how the instance is then, and does not promise what was hoped for."""
    page = new_page(plane.url)
    ordered(page, "orders-3", "Uneject")
    expect(page.get_by_text("orders-3 is ejected no more, but ejected (5 failures in a row, the last one no answer).")).to_be_visible()
    gateway.known["orders"][1].update(state="ready", reason=None)
    asked(page, "orders-2", "Undrain").get_by_role("button", name="Undrain").click()
    expect(page.get_by_text("orders-2 is drained no more, and takes requests.")).to_be_visible()


def test_who_looks_at_an_instance_is_told_that_it_is_the_past(plane: ControlPlane, new_page: NewPage):
    """The page behind is out of sight and hearing; both say it until the gateway is back."""
    page = new_page(plane.url)
    drawer = opened(page, "users-1")
    lost(page)
    expect(drawer.get_by_role("status").first).to_contain_text(re.compile(r"Connection lost: .* as of \d\d:\d\d:\d\d"))
    assert "Connection lost" in heard(page)

    page.context.set_offline(False)
    drawer.get_by_role("button", name="Try now").click()
    expect(page.get_by_text("Connected again after")).to_be_visible()
    expect(drawer).not_to_contain_text("Connection lost")


def test_several_gateways_behind_one_address_are_no_restarts(gateway: Gateway, plane: ControlPlane, new_page: NewPage):
    """What one of them is told, the others do not know: that has to be said, and once is enough."""
    page = new_page(plane.url)
    first = gateway.id
    restarted(page, gateway)
    gateway.id = first
    told = page.get_by_text("Several gateways answer here in turn")
    expect(told).to_be_visible()
    page.get_by_role("button", name="Dismiss").click()
    with page.expect_response(lambda answer: "summary" in answer.url):
        gateway.id = "0badf00d"
    with page.expect_response(lambda answer: "summary" in answer.url):
        gateway.id = first
    expect(told).to_have_count(0)


def test_what_is_marked_to_be_copied_stays_marked(gateway: Gateway, plane: ControlPlane, new_page: NewPage):
    """An error in an instance that changes with every look; once nothing is marked, it goes on."""
    gateway.known["users"][0].update(last_error="connection refused")
    page = new_page(plane.url)
    drawer = opened(page, "users-1")
    drawer.get_by_text("connection refused").select_text()
    gateway.known["users"][0].update(requests_total=4711)
    for _ in range(2):
        with page.expect_response(lambda answer: "explain" in answer.url):
            pass
    assert page.evaluate("getSelection().toString()") == "connection refused"

    drawer.get_by_role("heading", name="users-1").click()
    expect(drawer).to_contain_text("4,711")


def test_an_ejection_that_ends_elsewhere_is_no_comeback(gateway: Gateway, plane: ControlPlane, new_page: NewPage):
    """From ejected to draining: it is named by where it went."""
    for name, to in (("orders-1", "draining"), ("orders-2", "ready")):
        gateway.ring.tell("ejection", service="orders", instance=name, node="n1", **{"from": "ejected", "to": to, "reason": None})
    page = new_page(f"{plane.url}#/events")
    told = page.get_by_role("region", name="Events").get_by_role("listitem")
    expect(told.nth(0)).to_contain_text(re.compile("back.*orders-2 ejected → ready"))
    expect(told.nth(1)).to_contain_text(re.compile("draining.*orders-1 ejected → draining"))


def test_the_worst_comes_first_also_when_nothing_is_left(gateway: Gateway, plane: ControlPlane, new_page: NewPage):
    """A service without any instance is worse off than one that lacks some."""
    gateway.known["reports"] = []
    page = new_page(plane.url)
    names = page.locator(".toggle")
    expect(names).to_have_text(["orders", "reports", "users"])
    page.get_by_label("Order", exact=True).select_option("Worst first")
    expect(names).to_have_text(["reports", "orders", "users"])
