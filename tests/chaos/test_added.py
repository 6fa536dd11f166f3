"""What a limit adds while its Redis is in trouble: the table, and a short pass of everything in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.added import BEGIN, END, FREE, HEAD, LIMITED, MODES, PAGE, TROUBLES, House, Pairs, merged, row

pytestmark = pytest.mark.alone

ADDED_S = 0.005
"""What a limit may add."""


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with House() as built:
        yield built


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("trouble", TROUBLES)
def test_no_trouble_of_the_redis_is_seen_by_clients(house: House, trouble: str, mode: str):
    """No error, and next to no delay; how busy this machine is shows in the route without a limit."""
    pairs = house.play(trouble, mode, 1.0)
    assert pairs.failed == 0
    assert pairs.added_s() <= ADDED_S + pairs.p99_s(FREE), row(trouble, mode, pairs)


def test_what_is_added_is_the_difference_of_both_routes():
    """At the 99th percentile, in milliseconds; sums of all times that it was played."""
    whole = Pairs()
    for number in range(2):
        whole.join(Pairs({LIMITED: [0.004] * 98 + [0.006, 0.008], FREE: [0.003] * 100}, failed=number))
    assert row("is paused", "local", whole) == "| is paused | `local` | 400 | 1 | 8.0 | 3.0 | 5.0 |"


def test_the_table_is_replaced_as_a_whole():
    """And nothing around it."""
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert merged(page, ["| new |"]) == f"before\n{BEGIN}\n{HEAD}\n| new |\n{END}\nafter\n"


def test_the_page_tells_of_every_trouble_and_mode():
    """Whoever adds one lets it be played: `make chaos-limits`."""
    table = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    told = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in table.strip().splitlines()[2:]]
    assert told == [(trouble, f"`{mode}`") for trouble in TROUBLES for mode in MODES]
