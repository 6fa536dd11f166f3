"""Parameters, replies and indexes of blocking queries."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.consul_wire import MAX_INDEX, Consistency, Read, Reply, digest, failure, next_index, parameters, reply
from discovery.errors import Busy, Denied, DiscoveryError, Misconfigured, ReadTimedOut, ServerFailed


@pytest.mark.parametrize(
    ("read", "query"),
    [
        (Read(), {"stale": ""}),
        (Read(consistency=Consistency.DEFAULT), {}),
        (Read(consistency=Consistency.CONSISTENT), {"consistent": ""}),
        (Read(7, 30.0), {"stale": "", "index": "7", "wait": "30000ms"}),
        (Read(7, 0.25, Consistency.DEFAULT), {"index": "7", "wait": "250ms"}),
        (Read(7, 0.0), {"stale": "", "index": "7", "wait": "1ms"}),
        (Read(cached=True), {"cached": ""}),
    ],
)
def test_a_read_becomes_a_query(read: Read, query: dict[str, str]) -> None:
    """Never index 0, never a wait without unit, never two modes at once."""
    assert parameters(read) == query
    assert parameters(read, "dc2") == query | {"dc": "dc2"}


@pytest.mark.parametrize(
    ("header", "asked", "index"),
    [
        ("43", 0, 43),
        ("43", 42, 43),
        ("43", 43, 43),
        ("10", 43, 0),
        (None, 0, 1),
        ("0", 0, 1),
        ("", 0, 1),
        ("abc", 0, 1),
        ("-5", 0, 1),
        ("1.5", 0, 1),
        ("٣", 0, 1),
        (None, 43, 0),
        ("0", 43, 0),
        (str(MAX_INDEX - 1), 5, MAX_INDEX - 1),
        (str(2**64 - 1), 5, 0),
        ("9" * 5000, 5, 0),
    ],
)
def test_an_index_is_taken_over_or_dropped(header: str | None, asked: int, index: int) -> None:
    """Backwards means: ask plainly next. Garbage counts as 1, which never blocks for long."""
    assert next_index(header, asked) == index


@given(st.none() | st.text(), st.integers(0, MAX_INDEX - 1))
def test_no_header_leads_to_an_index_that_hangs(header: str | None, asked: int) -> None:
    """Whatever the header says, the next index is 0, or a plausible one that is not below the last."""
    index = next_index(header, asked)

    assert index == 0 or asked <= index < MAX_INDEX


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (200, "[]", None),
        (400, "Invalid wait time", Misconfigured),
        (401, "", Denied),
        (403, "ACL not found", Denied),
        (404, "page not found", ServerFailed),
        (302, "", ServerFailed),
        (429, "", Busy),
        (500, "No cluster leader", ServerFailed),
        (500, "rpc error making call: EOF", ServerFailed),
        (500, "Failed to create boolean expression evaluator: 1:1", Misconfigured),
        (503, "", Busy),
        (504, "gateway timeout", ReadTimedOut),
    ],
)
def test_a_status_has_one_meaning(status: int, text: str, kind: type[DiscoveryError] | None) -> None:
    """The table of status codes."""
    error = failure(Reply(status, text.encode()))

    assert type(error) is (kind or type(None))
    assert error is None or str(status) in str(error)


def test_the_wish_for_a_pause_is_kept() -> None:
    """Retry-After in seconds; dates are ignored."""
    busy = failure(reply(429, httpx.Headers({"retry-after": "7"}), b""))
    vague = failure(reply(429, httpx.Headers({"retry-after": "Mon, 23 Nov 2026 05:55:29 GMT"}), b""))

    assert isinstance(busy, Busy)
    assert isinstance(vague, Busy)
    assert (busy.retry_after_s, vague.retry_after_s) == (7.0, None)


@pytest.mark.parametrize(
    ("headers", "dubious"),
    [
        ({}, None),
        ({"X-Consul-KnownLeader": "true", "X-Consul-LastContact": "9000"}, None),
        ({"X-Consul-KnownLeader": "true", "X-Consul-LastContact": "37717"}, "the server lost its leader 38 s ago"),
        ({"X-Consul-KnownLeader": "false"}, "the cluster has no leader"),
        ({"X-Cache": "HIT", "Age": "3"}, "answered from the agent's cache"),
        ({"X-Cache": "MISS"}, None),
    ],
)
def test_signs_of_an_old_answer_are_seen(headers: dict[str, str], dubious: str | None) -> None:
    """Stale reads are fine as long as the server still hears its leader."""
    assert reply(200, httpx.Headers(headers), b"[]").dubious == dubious


def test_the_longest_silence_covers_consuls_own_jitter() -> None:
    """A timeout equal to `wait` would be an error per poll."""
    assert Read(7, 32.0).timeout_s == 44.0
    assert Read().timeout_s == 10.0


def test_modes_are_ordered_by_strength() -> None:
    """A confirmation must never be weaker than what it confirms."""
    assert [mode.strength for mode in (Consistency.STALE, Consistency.DEFAULT, Consistency.CONSISTENT)] == [0, 1, 2]


def test_equal_bodies_have_equal_digests() -> None:
    """And other bodies others."""
    assert digest(b"[]") == digest(b"[]") != digest(b"[ ]")
