"""A limit that several processes count together: two policies over one table stand for two workers."""

from __future__ import annotations

from dataclasses import replace

from lbgateway.policies.gcra import Limit
from lbgateway.policies.rate_limit import RateLimit
from lbgateway.ratelimit.table_limit import TableLimit
from tests.lbgateway.policies.test_rate_limit import asking
from tests.lbgateway.ratelimit.test_table import Table

LIMIT = Limit(requests=3, per_s=60.0, burst=3)


def test_it_answers_as_a_limit_of_one_process_does():
    """The same header fields, the same refusals, at the same moments."""
    alone, together = RateLimit(LIMIT), TableLimit(LIMIT, Table())
    for now_s in (1.0, 1.0, 1.5, 2.0, 25.0, 25.0, 500.0):
        expected, found = asking(now_s), asking(now_s)
        refused, answer = alone.admit(expected), together.admit(found)
        assert (answer is None) == (refused is None)
        assert found.answer_lines == expected.answer_lines
        assert found.plane.metrics.rate_limited == expected.plane.metrics.rate_limited
    assert repr(together) == "<TableLimit 3/60s by client>"


def test_workers_count_one_limit_and_clients_one_by_one():
    """Three requests are three, whoever got them; somebody else has three of their own."""
    table = Table()
    workers = [TableLimit(LIMIT, table), TableLimit(LIMIT, table)]
    answers = [workers[turn % 2].admit(asking(1.0)) for turn in range(5)]
    assert [answer is None for answer in answers] == [True, True, True, False, False]
    assert workers[1].admit(asking(1.0, b"b")) is None


def test_another_limit_counts_anew():
    """One that a reload has changed, and one of another route: neither knows what was counted for the first."""
    table = Table()
    first = TableLimit(LIMIT, table)
    for _ in range(3):
        first.admit(asking(1.0))
    assert first.admit(asking(1.0)) is not None
    for other in (replace(LIMIT, burst=2), replace(LIMIT, scope="route /a")):
        assert TableLimit(other, table).admit(asking(1.0)) is None


def test_who_it_is_cannot_be_read_from_the_table():
    """A fingerprint under a secret: without it nobody finds a client that shares a counter with another one."""
    one, other = Table(), Table()
    other.secret = b"another"
    for table in (one, other):
        TableLimit(LIMIT, table).admit(asking(1.0))
    assert set(one.memory) != set(other.memory)


def test_a_sweep_has_nothing_to_do():
    """What has passed is overwritten when its place is needed."""
    table = Table()
    limit = TableLimit(LIMIT, table)
    limit.admit(asking(1.0))
    before = bytes(table.memory)
    limit.sweep(1e9)
    assert bytes(table.memory) == before
