"""When keys are fetched, and what becomes of answers: stories in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from lbgateway.jwks import FETCH_S, LONGEST_PAUSE_S, MAX_BYTES, MISS_EVERY_S, MOST_ROTATIONS, REFRESH_S, Jwks
from lbgateway.policies.jwt_auth import WAIT_S
from tests.support.tokens import jwk_of, jwks, private_key
from tests.support.virtual_time import run_virtual

ONE, TWO = (jwk_of(private_key("ES256", which), kid=which) for which in "ab")
URL = "http://issuer.example/jwks"


class Body(httpx.AsyncByteStream):
    """An answer's body in pieces."""

    def __init__(self, document: bytes) -> None:
        self._document = document

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._document), 1000):
            yield self._document[at : at + 1000]


class Provider(httpx.AsyncBaseTransport):
    """Answers as the story wants; knows when it was asked."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.document = jwks(*keys)
        self.status = 200
        self.down = False
        self.slow_s = 0.0
        self.asked_at_s: list[float] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked_at_s.append(asyncio.get_running_loop().time())
        assert (request.method, str(request.url)) == ("GET", URL)
        await asyncio.sleep(self.slow_s)
        if self.down:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(self.status, stream=Body(self.document), headers={"Location": "https://evil.example/"})


class Passenger:
    def __init__(self) -> None:
        self.landed = 0

    def on_landed(self) -> None:
        self.landed += 1


Story = Callable[[Jwks, Provider], Coroutine[Any, Any, None]]


def told(story: Story, provider: Provider) -> None:
    async def run() -> None:
        made = Jwks(URL, clock=asyncio.get_running_loop().time, transport=provider)
        made.start()
        try:
            await story(made, provider)
        finally:
            await made.aclose()

    run_virtual(run())


def ids(made: Jwks) -> list[str | None]:
    return [key.id for key in made.keys]


def test_keys_are_fetched_at_the_start_and_then_now_and_then():
    """What has not changed is not told."""
    changes: list[bool] = []

    async def story(made: Jwks, provider: Provider) -> None:
        made.on_change = changes.append
        assert (made.fresh, made.keys, repr(made)) == (False, (), f"<Jwks {URL} 0 keys stale>")
        await asyncio.sleep(1)
        assert (made.fresh, ids(made), repr(made)) == (True, ["a"], f"<Jwks {URL} 1 keys fresh>")
        await asyncio.sleep(2 * REFRESH_S)
        assert [round(at_s) for at_s in provider.asked_at_s] == [1000, 1300, 1600]
        assert changes == [False]
        provider.document = jwks(ONE, TWO)
        await asyncio.sleep(REFRESH_S)
        provider.document = jwks(TWO)
        await asyncio.sleep(REFRESH_S)
        assert (changes, ids(made)) == ([False, False, True], ["b"])

    told(story, Provider(ONE))


def test_a_name_that_means_another_key_now_is_a_key_taken_away():
    """What was signed by the old one must not stay believed."""
    changes: list[bool] = []

    async def story(made: Jwks, provider: Provider) -> None:
        made.on_change = changes.append
        await asyncio.sleep(1)
        provider.document = jwks({**TWO, "kid": "a"})
        await asyncio.sleep(REFRESH_S)
        assert (changes, ids(made)) == ([False, True], ["a"])

    told(story, Provider(ONE))


def test_a_missed_key_is_fetched_at_once_but_not_without_end():
    """All who miss one share a fetch; the next one may begin ten seconds later."""

    async def story(made: Jwks, provider: Provider) -> None:
        await asyncio.sleep(1)
        provider.slow_s = 1.0
        flight, passenger = made.refetch(), Passenger()
        assert flight is not None
        assert made.refetch() is flight
        flight.join(passenger)
        await asyncio.sleep(0.5)
        assert (passenger.landed, made.refetch()) == (0, flight)
        await asyncio.sleep(0.6)
        assert (passenger.landed, ids(made)) == (1, ["a"])
        assert made.refetch() is None
        await asyncio.sleep(MISS_EVERY_S - 1.2)
        assert (made.refetch(), round(made.again_in_s(), 3)) == (None, 0.1)
        await asyncio.sleep(0.2)
        assert made.refetch() is not None
        await asyncio.sleep(2)
        assert len(provider.asked_at_s) == 3

    told(story, Provider(ONE))


def test_a_fetch_that_brought_new_keys_keeps_nobody_from_the_next():
    """A provider may change its keys twice in ten seconds; one that does so without end is not asked without end."""

    async def story(made: Jwks, provider: Provider) -> None:
        await asyncio.sleep(1)
        for number in range(MOST_ROTATIONS + 1):
            provider.document = jwks({**ONE, "kid": f"r{number}"})
            before_s = asyncio.get_running_loop().time()
            assert made.refetch() is not None
            await asyncio.sleep(0.1)
            assert (ids(made), made.read_at_s) == ([f"r{number}"], before_s)
        assert made.refetch() is None
        await asyncio.sleep(MISS_EVERY_S)
        assert made.refetch() is not None

    told(story, Provider(ONE))


def test_who_misses_again_uses_up_nothing_of_those_who_miss_for_the_first_time():
    """Once in ten seconds each."""

    async def story(made: Jwks, provider: Provider) -> None:
        await asyncio.sleep(1)
        for _ in range(2):
            for again in (True, False, True, False):
                made.refetch(again=again)
                await asyncio.sleep(0.1)
            await asyncio.sleep(MISS_EVERY_S)
        assert len(provider.asked_at_s) == 1 + 2 * 2

    told(story, Provider(ONE))


def test_a_miss_during_the_first_fetch_waits_for_it():
    """Nobody is turned away because the gateway has just begun."""

    async def story(made: Jwks, provider: Provider) -> None:
        flight, passenger = made.refetch(), Passenger()
        assert flight is not None
        flight.join(passenger)
        await asyncio.sleep(2)
        assert (passenger.landed, ids(made), len(provider.asked_at_s)) == (1, ["a"], 1)

    provider = Provider(ONE)
    provider.slow_s = 1.0
    told(story, provider)


def test_while_the_provider_is_away_the_known_keys_stay():
    """It is tried again and again, at growing distances; who waits is told of each failure; the log is told once."""

    async def story(made: Jwks, provider: Provider) -> None:
        await asyncio.sleep(1)
        provider.down = True
        flight, passenger = made.refetch(), Passenger()
        assert flight is not None
        flight.join(passenger)
        with capture_logs() as log:
            await asyncio.sleep(600)
            assert (passenger.landed, made.fresh, ids(made)) == (1, False, ["a"])
            tries = provider.asked_at_s[1:]
            assert 50 < len(tries) < 600
            assert max(later - earlier for earlier, later in itertools.pairwise(tries)) <= LONGEST_PAUSE_S + 0.1
            provider.down = False
            await asyncio.sleep(LONGEST_PAUSE_S + 0.1)
        assert made.fresh
        assert [line["event"] for line in log] == ["keys cannot be fetched, the known ones stay", "keys fetched again"]
        assert log[0]["error"] == "refused"

    told(story, Provider(ONE))


def test_a_miss_during_an_outage_tries_at_once():
    """The provider may be back; if it is not, who waits is told soon."""

    async def story(made: Jwks, provider: Provider) -> None:
        await asyncio.sleep(60)
        passenger, before = Passenger(), len(provider.asked_at_s)
        flight = made.refetch()
        assert flight is not None
        flight.join(passenger)
        await asyncio.sleep(0.01)
        assert (passenger.landed, len(provider.asked_at_s)) == (1, before + 1)

    provider = Provider(ONE)
    provider.down = True
    told(story, provider)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"down": True}, "refused"),
        ({"status": 500}, "the answer has the status 500"),
        ({"status": 302}, "the answer has the status 302"),
        ({"slow_s": 60.0}, f"no complete answer within {FETCH_S:g} s"),
        ({"document": b" " * (MAX_BYTES + 1)}, "the answer is larger than 256 KiB"),
        ({"document": b"<html>login"}, "the answer is no JSON"),
        ({"document": jwks()}, "the set holds no key that can be used"),
        ({"document": jwks({})}, "the set holds no key that can be used; keys[0]: has a `kty` other than RSA, EC and OKP"),
    ],
)
def test_what_is_no_answer_changes_nothing(changes, why):
    """A redirect is none either: whoever answers must not name another source."""

    async def story(made: Jwks, provider: Provider) -> None:
        await asyncio.sleep(1)
        for name, value in changes.items():
            setattr(provider, name, value)
        with capture_logs() as log:
            await asyncio.sleep(REFRESH_S + 5)
        assert (made.fresh, ids(made)) == (False, ["a"])
        assert [(line["event"], line["error"]) for line in log] == [("keys cannot be fetched, the known ones stay", why)]

    told(story, Provider(ONE))


def test_a_bug_does_not_end_the_fetching():
    """Whatever `on_change` does; who waits goes on."""

    async def story(made: Jwks, provider: Provider) -> None:
        def broken(_taken_away: bool) -> None:
            raise RuntimeError("a bug")

        await asyncio.sleep(1)
        made.on_change, provider.document = broken, jwks(TWO)
        passenger, flight = Passenger(), made.refetch()
        assert flight is not None
        flight.join(passenger)
        with capture_logs() as log:
            await asyncio.sleep(1)
        assert (passenger.landed, [line["event"] for line in log]) == (1, ["keys fetched", "a bug while fetching keys"])
        made.on_change, provider.document = lambda _taken_away: None, jwks(ONE, TWO)
        await asyncio.sleep(REFRESH_S)
        assert ids(made) == ["a", "b"]

    told(story, Provider(ONE))


def test_the_end_tells_who_still_waits():
    """And nobody joins any more."""

    async def story(made: Jwks, provider: Provider) -> None:
        await asyncio.sleep(1)
        provider.slow_s = 3.0
        passenger, flight = Passenger(), made.refetch()
        assert flight is not None
        flight.join(passenger)
        await made.aclose()
        assert (passenger.landed, made.refetch()) == (1, None)
        await made.aclose()

    told(story, Provider(ONE))


def test_a_wait_of_a_request_outlasts_a_fetch():
    """Otherwise a slow provider would be answered for before it had its chance."""
    assert FETCH_S < WAIT_S < MISS_EVERY_S
