"""When keys are fetched, and what becomes of answers: stories in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from lbgateway.jwks import FETCH_S, LONGEST_PAUSE_S, MAX_BYTES, MISS_EVERY_S, MOST_HELD, MOST_WITHDRAWN, REFRESH_S, Jwks
from lbgateway.policies.jwt_auth import WAIT_S
from lbgateway.policies.unknown_key import SOUGHT_S
from lbgateway.policies.wait import Flight
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


def landing_of(flight: Flight | None) -> Passenger:
    """Somebody who waits for it."""
    assert flight is not None
    passenger = Passenger()
    flight.join(passenger)
    return passenger


def test_who_misses_a_key_meanwhile_may_wait_for_the_next_fetch():
    """It begins by itself when it may, once for all of them, and brings what was published in between."""

    async def story(made: Jwks, provider: Provider) -> None:
        await asyncio.sleep(1)
        assert made.refetch() is not None
        await asyncio.sleep(3)
        provider.document = jwks(ONE, TWO)
        held = [landing_of(made.next_fetch()) for _ in range(3)]
        await asyncio.sleep(MISS_EVERY_S - 3.1)
        assert (made.refetch(), [each.landed for each in held], ids(made)) == (None, [0, 0, 0], ["a"])
        await asyncio.sleep(0.2)
        assert ([each.landed for each in held], ids(made)) == ([1, 1, 1], ["a", "b"])
        assert [at_s - provider.asked_at_s[1] for at_s in provider.asked_at_s[2:]] == [pytest.approx(MISS_EVERY_S)]

    told(story, Provider(ONE))


@pytest.mark.parametrize("held", [False, True])
def test_whatever_is_missed_there_is_one_fetch_in_ten_seconds(held: bool):
    """Also where each one brings new keys: whoever misses one then waits, and nobody has to be turned away for it."""

    async def story(made: Jwks, provider: Provider) -> None:
        await asyncio.sleep(1)
        passengers = []
        for number in range(100):
            provider.document = jwks({**ONE, "kid": f"r{number}"})
            if made.refetch() is None and held:
                passengers.append(landing_of(made.next_fetch()))
            await asyncio.sleep(0.5)
        await asyncio.sleep(MISS_EVERY_S)
        gaps = [later - earlier for earlier, later in itertools.pairwise(provider.asked_at_s[1:])]
        assert all(gap >= MISS_EVERY_S - 1e-6 for gap in gaps)
        assert len(gaps) == (5 if held else 4)
        assert all(each.landed == 1 for each in passengers)

    told(story, Provider(ONE))


def test_no_more_wait_for_the_next_fetch_than_there_is_room_for():
    """Who leaves makes room."""

    async def story(made: Jwks, provider: Provider) -> None:
        await asyncio.sleep(1)
        assert made.refetch() is not None
        await asyncio.sleep(0.1)
        held = [landing_of(made.next_fetch()) for _ in range(MOST_HELD)]
        assert made.next_fetch() is None
        assert made._next is not None
        made._next.leave(held[0])
        held[0] = landing_of(made.next_fetch())
        assert made.next_fetch() is None
        await asyncio.sleep(MISS_EVERY_S)
        assert ({each.landed for each in held}, len(provider.asked_at_s)) == ({1}, 3)

    told(story, Provider(ONE))


def test_who_is_held_when_the_provider_goes_away_is_told():
    """By the fetch that fails."""

    async def story(made: Jwks, provider: Provider) -> None:
        await asyncio.sleep(1)
        assert made.refetch() is not None
        await asyncio.sleep(1)
        held = landing_of(made.next_fetch())
        provider.down = True
        await asyncio.sleep(MISS_EVERY_S)
        assert (held.landed, made.fresh) == (1, False)

    told(story, Provider(ONE))


def test_it_is_known_which_keys_were_taken_away():
    """Until they come back; so many at most."""

    async def story(made: Jwks, provider: Provider) -> None:
        await asyncio.sleep(1)
        for published, withdrawn in (([ONE, TWO], ()), ([TWO], ("a",)), ([ONE], ("b",)), ([{**ONE, "kid": None}], ("b", "a"))):
            provider.document = jwks(*published)
            await asyncio.sleep(REFRESH_S)
            assert made.withdrawn == withdrawn
        for number in range(MOST_WITHDRAWN + 1):
            provider.document = jwks({**ONE, "kid": f"r{number}"})
            await asyncio.sleep(REFRESH_S)
        assert made.withdrawn == tuple(f"r{number}" for number in range(MOST_WITHDRAWN))

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
        passenger = landing_of(made.refetch())
        held = landing_of(made.next_fetch())
        await asyncio.sleep(0.1)
        await made.aclose()
        assert (passenger.landed, held.landed, made.refetch(), made.next_fetch()) == (1, 1, None, None)
        await made.aclose()
        await asyncio.sleep(2 * MISS_EVERY_S)
        assert len(provider.asked_at_s) == 2

    told(story, Provider(ONE))


def test_a_wait_of_a_request_outlasts_a_fetch():
    """And the time until it may begin; otherwise a slow provider would be answered for before it had its chance."""
    assert MISS_EVERY_S + FETCH_S < WAIT_S
    assert SOUGHT_S >= MISS_EVERY_S
