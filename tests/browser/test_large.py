"""200 services of 20 instances, all of which change with every look: nothing may stutter."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import pytest
from playwright.sync_api import Response, expect

from lbgateway.controlplane.port import InstanceView, ServiceSummary
from tests.browser.conftest import NewPage
from tests.browser.control_plane import ControlPlane
from tests.support.fake_gateway import FakeGateway, instance
from tests.support.launch import wait_until

pytestmark = pytest.mark.alone

SERVICES, INSTANCES = 200, 20
UPDATE_MS = 50
LOOKS = 8
PIECE = 500
COLLECT = """
globalThis.updates = [];
new PerformanceObserver((list) => updates.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: "measure" });
"""


class Busy(FakeGateway):
    """Every number of every instance moves between two looks."""

    def __init__(self) -> None:
        names = [f"service-{number:03}" for number in range(SERVICES)]
        super().__init__({name: [instance(f"{name}-{n:02}", node=f"n{n % 7}") for n in range(INSTANCES)] for name in names})
        self.looks = 0

    def summary(self, name: str) -> ServiceSummary | None:
        if name == "service-000":
            self.looks += 1
        for number, view in enumerate(self.known[name]):
            self._move(view, number)
        return super().summary(name)

    def _move(self, view: InstanceView, number: int) -> None:
        view["requests_total"] += 7 + number
        view["failures_total"] += number % 3
        view["active_requests"] = (self.looks + number) % 5
        view["latency_ms"] = {"p50": 1.0 + self.looks % 9, "p99": 5.0 + (self.looks * number) % 50}
        view["ejections_total"] += number == 3
        view["state"] = "ejected" if (self.looks + number) % 20 == 0 else "ready"


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with ControlPlane(Busy()) as running:
        yield running


def test_an_update_of_4000_instances_keeps_the_page_smooth(plane: ControlPlane, new_page: NewPage):
    """All of them open: what an update blocks of the main thread, by the page's own measure, and everything can be scrolled to."""
    page = new_page(plane.url)
    page.get_by_role("button", name="Expand all").click()
    expect(page.get_by_role("row").filter(has_text="service-000-19")).to_be_visible()

    page.evaluate(COLLECT)
    wait_until(lambda: page.evaluate("updates.length") >= LOOKS, 30, lambda: "the page does not look any more")
    updates = page.evaluate("updates")
    lines = page.get_by_role("row").count()
    page.get_by_role("button", name="service-199", exact=True).scroll_into_view_if_needed()

    expect(page.get_by_role("row").filter(has_text="service-199-00")).to_be_visible()
    assert median(updates) < UPDATE_MS, updates
    assert lines < SERVICES * INSTANCES / 10


def test_a_word_is_found_among_4000_instances(plane: ControlPlane, new_page: NewPage):
    """One instance out of all, by its name, while everything moves; all are read, in pieces that block nobody."""
    page = new_page(plane.url)
    sizes: list[int] = []

    def arrived(answer: Response) -> None:
        if "limit=" in answer.url and "summary" not in answer.url:
            body = answer.json()
            sizes.append(sum(len(service["instances"]) for service in body.get("services", [body])))

    page.on("response", arrived)
    page.get_by_role("searchbox").fill("service-123-07")
    expect(page.locator(".toggle")).to_have_text(["service-123"])
    expect(page.get_by_role("row")).to_have_count(2)

    assert sum(sizes) >= SERVICES * INSTANCES
    assert max(sizes) <= PIECE
