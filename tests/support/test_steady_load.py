"""The clients of the chaos suite: what counts as an answer, and that nothing that is none goes unnoticed."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.steady_load import SteadyLoad, Told
from tests.support.upstream_server import (
    Connection,
    Handler,
    Received,
    UpstreamThread,
    answer,
    close_without_answer,
    fixed,
)

PER_SECOND = 50.0
OVERLOADED = answer(
    b'{"type": "urn:lbgateway:problem:overloaded", "status": 503}',
    status="503 Service Unavailable",
    headers=("Content-Type: application/problem+json", "Retry-After: 1"),
)


async def own(request: Received, connection: Connection) -> bool:
    """Its own answer, and every second time the end of the connection, said in advance."""
    last = connection.served == 2
    await connection.send(answer(request.target.rpartition("/")[2].encode(), headers=("Connection: close",) if last else ()))
    return not last


async def once(request: Received, connection: Connection) -> bool:
    """The second request of a connection is not answered."""
    if connection.served == 1:
        return await own(request, connection)
    return False


def told(handler: Handler) -> Told:
    """What becomes of half a second of requests."""
    with UpstreamThread(handler) as server, SteadyLoad(server.port, per_second=PER_SECOND) as load:
        time.sleep(0.5)
        return load.stop()


class Knowing(SteadyLoad):
    """The benchmark's client that knows its instances (`benchmarks.all_knowing`), one of them."""

    def __init__(self, port: int) -> None:
        self._arguments = ["benchmarks.all_knowing", str(PER_SECOND), f"{port}:4:20"]


def test_the_client_that_knows_all_tells_the_same_figures():
    """Or there would be nothing to hold the gateway against."""
    with UpstreamThread(own) as server, Knowing(server.port) as load:
        time.sleep(0.5)
        told = load.stop()
    assert (told.asked > 10, told.failed, told.turned_away, told.p99_s > 0) == (True, {}, 0, True)


def test_its_own_answer_is_what_a_request_is_for():
    """Whether or not the connection ends after it; they come at the pace that was asked for."""
    result = told(own)
    assert (result.failed, result.turned_away, result.not_accepted) == ({}, 0, 0)
    assert result.asked >= 0.5 * PER_SECOND * 0.5
    assert 0.0 < result.p99_s < 5.0


async def slower_and_slower(request: Received, connection: Connection) -> bool:
    """From the eleventh request on each takes a fifth of a second."""
    await asyncio.sleep(0.2 if int(request.target.rpartition("/")[2]) >= 10 else 0.0)
    return await own(request, connection)


def test_what_comes_later_is_held_against_the_calm():
    """Whose own times are not among those of later."""
    with UpstreamThread(slower_and_slower) as server, SteadyLoad(server.port, per_second=PER_SECOND, calm_s=0.2) as load:
        time.sleep(0.5)
        result = load.stop()
    assert 0.0 < result.calm_s < 0.2 <= result.p99_s


@pytest.mark.parametrize(
    ("handler", "failure"),
    [
        (fixed(answer(b"77777")), "another's answer: b'77777'"),
        (fixed(answer(b"sorry", status="500 Internal Server Error")), "500 of the service"),
        (fixed(answer(b"{}", status="503 Service Unavailable", headers=("Retry-After: 1",))), "503 of the service"),
    ],
)
def test_anything_else_is_a_failure(handler, failure):
    """Also a 503 that is not the gateway's."""
    result = told(handler)
    assert result.failed == {failure: result.asked}


def test_a_kept_connection_that_ends_without_an_answer_is_a_failure():
    """It had been accepted."""
    assert told(once).failed["closed without an answer"] > 0


def test_whoever_is_not_let_in_is_counted_apart():
    """A connection that ends before anything was said on it, and the gateway's word that it has too much to do."""
    assert told(close_without_answer).not_accepted > 0
    result = told(fixed(OVERLOADED))
    assert (result.turned_away, result.failed) == (result.asked, {})
