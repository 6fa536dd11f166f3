"""The page's modules one by one, as a browser runs them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import NewPage
from tests.browser.control_plane import ControlPlane
from tests.support.fake_gateway import FakeGateway


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane(FakeGateway()) as running:
        yield running


@pytest.fixture
def page(plane: ControlPlane, new_page: NewPage) -> Page:
    return new_page(plane.url, token=None)


def test_numbers_are_short_and_keep_what_matters(page: Page):
    """From nothing to a lot, with the unit that a reader expects."""
    told = page.evaluate("""async () => {
        const format = await import("/admin/assets/format.js");
        const each = (name, values) => values.map((value) => format[name](value));
        return {
            rate: each("rate", [null, 0, 0.04, 0.3, 12.41, 99.96, 1240.4]),
            ratio: each("ratio", [null, 0, 0.0004, 0.031, 0.9996, 1]),
            latency: each("latency", [null, 0.841, 4.04, 12.4, 1204]),
            duration: each("duration", [null, 0.2, 59.4, 200, 7500, 356400]),
            period: each("period", [1, 60, 3600, 86400, 10]),
            plural: [format.plural(1, "instance"), format.plural(1500, "instance")],
        };
    }""")

    none = "\N{EN DASH}"
    assert told == {
        "rate": [none, "0", "0", "0.3", "12.4", "100", "1,240"],
        "ratio": [none, "0 %", "0.04 %", "3.1 %", "100 %", "100 %"],
        "latency": [none, "0.84 ms", "4.0 ms", "12 ms", "1.20 s"],
        "duration": [none, "0 s", "59 s", "3 m 20 s", "2 h 5 m", "4 d 3 h"],
        "period": ["second", "minute", "hour", "day", "10 s"],
        "plural": ["1 instance", "1,500 instances"],
    }


def test_totals_become_rates(page: Page):
    """Per second between two looks, errors over the last thirty seconds; a total that falls has begun anew."""
    told = page.evaluate("""async () => {
        const { Meter } = await import("/admin/assets/model.js");
        const meter = new Meter();
        const look = (...totals) => { meter.take(...totals); return [meter.rate, meter.failureRatio]; };
        const told = [look(0, 100, 10), look(2, 120, 10), look(4, 120, 10), look(6, 140, 30), look(8, 5, 0), look(10, 25, 1)];
        for (let at = 12; at < 60; at += 2) look(at, 25 + at, 1);
        return [...told, look(60, 85, 1)];
    }""")

    assert told == [[None, None], [10, 0], [0, 0], [10, 0.5], [None, None], [10, 0.05], [1, 0]]


def test_instances_that_nobody_looks_at_are_forgotten(page: Page):
    """A page may stay open for months."""
    left = page.evaluate("""async () => {
        const { InstanceMeters } = await import("/admin/assets/model.js");
        const meters = new InstanceMeters();
        for (let at = 0; at < 1000; at += 2) meters.take("orders", { id: `o-${at}`, node: "n", requests_total: 0, failures_total: 0 }, at);
        return meters.meters.size;
    }""")

    assert left < 70


def test_a_service_in_one_word(page: Page):
    """The worst first."""
    words = page.evaluate("""async () => {
        const { verdict } = await import("/admin/assets/states.js");
        const well = { total: 4, usable: 4, ready: 4, panic: false, breaker: { state: "closed" } };
        const breaker = (state) => ({ breaker: { state } });
        const changes = [{}, { ready: 3 }, breaker("half_open"), { panic: true }, breaker("open"), { usable: 0 }, { total: 0 }];
        return changes.map((change) => verdict({ ...well, ...change }).join(" "));
    }""")

    assert words == [
        "good healthy", "warn degraded", "warn breaker half open", "bad panic", "bad breaker open", "bad down", "bad no instances",
    ]  # fmt: skip
