"""Keys that a provider publishes at an address (``auth.jwt.jwks_url``): fetched in the background, kept while it is away.

They are fetched at the start, every `REFRESH_S`, and when a token names a key that is not there: then at once, but not
more often than every `MISS_EVERY_S`, without exception, or whoever invents names could have us fetch without end. Who misses a
key meanwhile may wait for the next fetch (`next_fetch`), as long as no more than `MOST_HELD` do: so keys may change at any time
without a failed request, and inventors of tokens can hold no more than a bounded number of connections. All who wait for one
fetch share it. What fails is tried again after a random pause that doubles; the keys that are known stay, for as long as it
takes. An answer without one usable key is a failure, too: it would turn everybody away.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from lbgateway.own_client import UnusableAnswer, fetch, own_client
from lbgateway.policies.keys import UnusableKeys, read_jwks
from lbgateway.policies.wait import Flight

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from lbgateway.policies.keys import Key

log = structlog.get_logger("lbgateway")

REFRESH_S = 300.0
MISS_EVERY_S = 10.0
MOST_HELD = 256
"""So many requests wait at most for a fetch that may not begin yet: each keeps its connection and its head."""
MOST_WITHDRAWN = 100
FETCH_S = 4.0
"""A whole fetch; shorter than a request waits for it."""
MAX_BYTES = 256 * 1024
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0
ACCEPT = "application/jwk-set+json, application/json"


class KeysUnavailable(Exception):
    """An attempt brought no keys; the text says why, for operators."""


class Jwks:
    """The keys of one address. `on_change` is told of new keys; its argument: whether one was taken away."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic, transport: httpx.AsyncBaseTransport | None = None) -> None:
        # for life
        self.url = url
        self.on_change: Callable[[bool], None] = lambda _taken_away: None
        self._clock = clock
        self._transport = transport
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        # as it goes
        self.keys: tuple[Key, ...] = ()
        self.withdrawn: tuple[str, ...] = ()
        """Names of keys that the provider has taken away, the last ones last."""
        self.fresh = False
        """The last attempt went well."""
        self.read_at_s = float("-inf")
        """When the fetch began that they are from: what was published later is not among them."""
        self._document = b""
        self._flight: Flight | None = None
        """The fetch that is under way."""
        self._next: Flight | None = None
        """The one after it, for which requests are held."""
        self._departure: asyncio.TimerHandle | None = None
        self._missed_at_s = float("-inf")
        self._closed = False

    def __repr__(self) -> str:
        return f"<Jwks {self.url} {len(self.keys)} keys {'fresh' if self.fresh else 'stale'}>"

    # -- what the policies ask -----------------------------------------------------------------

    def refetch(self) -> Flight | None:
        """Somebody misses a key: the fetch to wait for, which begins now if none is under way; None if it may not begin yet."""
        if self._flight is None and not self._closed and self.again_in_s() <= 0:
            self._depart()
        return self._flight

    def next_fetch(self) -> Flight | None:
        """The fetch that begins when it may, for who can be held until then; None if too many are."""
        if self._closed:
            return None
        if self._next is None:
            self._next = Flight()
            self._departure = asyncio.get_running_loop().call_later(self.again_in_s(), self._depart)
        return self._next if self._next.waiting < MOST_HELD else None

    def again_in_s(self) -> float:
        """For how long there is no use in `refetch`."""
        return max(0.0, self._missed_at_s + MISS_EVERY_S - self._clock())

    def _depart(self) -> None:
        self._missed_at_s = self._clock()
        self._board()
        self._wake.set()

    def _board(self) -> None:
        """A fetch begins: whoever was held goes with it, whatever it begins for."""
        if self._flight is None:
            self._flight, self._next = self._next or Flight(), None
            if self._departure is not None:
                self._departure.cancel()

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to fetch, with the next turn of the loop."""
        if self._task is None:
            self._board()
            self._task = asyncio.get_running_loop().create_task(self._run(), name="jwks")

    async def aclose(self) -> None:
        """Stop; who still waits is told at once."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._land()
        self._board()
        self._land()

    async def _run(self) -> None:
        async with await own_client(self.url, FETCH_S, accept=ACCEPT, transport=self._transport) as client:
            while True:
                try:
                    await self._fetch_until_it_works(client)
                except Exception:
                    log.exception("a bug while fetching keys", url=self.url)
                    self._land()
                await self._pause(REFRESH_S)

    async def _fetch_until_it_works(self, client: httpx.AsyncClient) -> None:
        pace = AsyncRetrying(
            wait=wait_random_exponential(multiplier=FIRST_PAUSE_S, max=LONGEST_PAUSE_S),
            sleep=self._pause,
            retry=retry_if_exception_type(KeysUnavailable),
            before_sleep=self._on_failure,
        )
        async for attempt in pace:
            with attempt:
                self._board()
                began_s = self._clock()
                self._take(await _fetch(client, self.url))
                self.read_at_s = began_s
        self._land()

    def _take(self, document: bytes) -> None:
        if document != self._document:
            try:
                keys, refused = read_jwks(document)
            except UnusableKeys as error:
                raise KeysUnavailable(str(error)) from None
            before, self.keys, self._document = self.keys, keys, document
            self.withdrawn = _withdrawn(self.withdrawn, before, keys)
            log.info("keys fetched", url=self.url, keys=sorted(str(key.id) for key in keys), refused=refused)
            self.on_change(any(key not in keys for key in before))
        elif not self.fresh:
            log.info("keys fetched again", url=self.url)
        self.fresh = True

    def _on_failure(self, attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome is not None else None
        if self.fresh or attempt.attempt_number == 1:
            log.warning("keys cannot be fetched, the known ones stay", url=self.url, keys=len(self.keys), error=str(error))
        self.fresh = False
        self._land()

    def _land(self) -> None:
        flight, self._flight = self._flight, None
        if flight is not None:
            flight.land()

    async def _pause(self, seconds: float) -> None:
        """Until the time is over, or somebody misses a key."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()


def _withdrawn(known: tuple[str, ...], before: tuple[Key, ...], now: tuple[Key, ...]) -> tuple[str, ...]:
    """The names in `known`, and those of keys that are gone; without those that are there again."""
    here = {key.id for key in now}
    gone = [key.id for key in before if key.id is not None]
    return tuple(name for name in dict.fromkeys((*known, *gone)) if name not in here)[-MOST_WITHDRAWN:]


async def _fetch(client: httpx.AsyncClient, url: str) -> bytes:
    """The body of one good answer, bounded in size and time; a redirect is none, or whoever answers could name another source."""
    try:
        async with asyncio.timeout(FETCH_S):
            status, document = await fetch(client, client.build_request("GET", url), MAX_BYTES)
    except UnusableAnswer as error:
        raise KeysUnavailable(str(error)) from error
    except TimeoutError:
        raise KeysUnavailable(f"no complete answer within {FETCH_S:g} s") from None
    if status != HTTPStatus.OK:
        raise KeysUnavailable(f"the answer has the status {status}")
    return document
