"""Questions that may not be answered: stories in virtual time. The breaker alone looks at the real clock."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from lbgateway.authorities.asking import FAILURES, GIVEN_UP, IN_PAUSE, PAUSE_S, Asking, Unanswered
from lbgateway.policies.testimony import Fails, Holds, Silence, Testimony
from tests.support.virtual_time import run_virtual

GOOD = Holds({"sub": "ann"}, math.inf)


class Somebody:
    """Answers as the story wants: a testimony, an exception, or after a while."""

    def __init__(self, says: Any = GOOD) -> None:
        self.says = says
        self.slow_s = 0.0
        self.asked: list[bytes] = []
        self.probed = 0
        self.closed = 0

    async def ask(self, credential: bytes) -> Testimony:
        self.asked.append(credential)
        return await self._answer()

    async def probe(self) -> None:
        self.probed += 1
        await self._answer()

    async def close(self) -> None:
        self.closed += 1

    async def _answer(self) -> Any:
        await asyncio.sleep(self.slow_s)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def asking(somebody: Somebody, *, probe: bool = False) -> Asking:
    return Asking("somebody", somebody.ask, within_s=1.0, probe=somebody.probe if probe else None, close=somebody.close)


async def answers(made: Asking, *credentials: bytes) -> list[Testimony]:
    told: list[Testimony] = []
    for credential in credentials or (b"sid",):
        made.begin(credential, told.append)
        await asyncio.wait(made._tasks)
        await asyncio.sleep(0)
    return told


def pass_pause(made: Asking) -> None:
    """The breaker's pause is over."""
    storage = made._breaker._state_storage
    opened_at = storage.opened_at
    assert opened_at is not None
    storage.opened_at = opened_at - timedelta(seconds=PAUSE_S)


@pytest.mark.parametrize(
    ("says", "slow_s", "told", "answered"),
    [
        (GOOD, 0.9, GOOD, True),
        (Fails("session"), 0.0, Fails("session"), True),
        (Unanswered("refused"), 0.0, Silence("refused"), False),
        (GOOD, 1.1, Silence("no answer within 1 s"), False),
        (KeyError("a bug"), 0.0, Silence("KeyError"), None),
    ],
)
def test_whatever_comes_is_told(says, slow_s, told, answered):
    """Once, and not later than the bound. A no is an answer like any other."""

    async def story() -> None:
        somebody = Somebody(says)
        somebody.slow_s = slow_s
        made = asking(somebody)
        with capture_logs():
            assert await answers(made) == [told]
        assert made.answers is answered

    run_virtual(story())


def test_after_some_failures_nobody_is_asked_for_a_while():
    """Then one trial decides; the log tells the beginning and the end, not each question."""

    async def story() -> None:
        somebody = Somebody(Unanswered("refused"))
        made = asking(somebody)
        with capture_logs() as events:
            assert await answers(made, *[b"sid"] * FAILURES) == [Silence("refused")] * FAILURES
            assert await answers(made) == [Silence(f"{IN_PAUSE}: refused")]
            assert len(somebody.asked) == FAILURES
            pass_pause(made)
            assert await answers(made, b"sid", b"sid") == [Silence("refused"), Silence(f"{IN_PAUSE}: refused")]
            pass_pause(made)
            somebody.says = GOOD
            assert await answers(made, b"sid", b"sid") == [GOOD, GOOD]
        assert [event["log_level"] for event in events] == ["warning", "info"]
        assert {event["authority"] for event in events} == {"somebody"}
        assert (made.answers, made.last_error) == (True, None)

    run_virtual(story())


def test_what_clients_make_up_opens_no_breaker():
    """Refusals are answers, however many."""

    async def story() -> None:
        made = asking(Somebody(Fails("session")))
        assert await answers(made, *[b"bad"] * (3 * FAILURES)) == [Fails("session")] * (3 * FAILURES)

    run_virtual(story())


def test_it_is_probed_at_the_start_and_while_it_does_not_answer():
    """No request is needed to find out that it is back."""

    async def story() -> None:
        somebody = Somebody(Unanswered("refused"))
        made = asking(somebody, probe=True)
        assert made.answers is None
        with capture_logs():
            made.start()
            made.start()
            await asyncio.sleep(0.1)
            assert (made.answers, made.last_error, somebody.probed) == (False, "refused", 1)
            await asyncio.sleep(2 * PAUSE_S)
            somebody.says = GOOD
            await asyncio.sleep(PAUSE_S)
            assert (made.answers, somebody.probed) == (True, 4)
            await asyncio.sleep(10 * PAUSE_S)
            assert somebody.probed == 4
            await made.aclose()

    run_virtual(story())


def test_the_end_tells_who_still_waits():
    """Also one whose question has not even begun."""

    async def story() -> None:
        somebody = Somebody()
        somebody.slow_s = 0.5
        made, told = asking(somebody, probe=True), []
        made.start()
        made.begin(b"begun", told.append)
        await asyncio.sleep(0.1)
        made.begin(b"not yet", told.append)
        await made.aclose()
        await asyncio.sleep(0)
        assert (told, somebody.closed, repr(made)) == ([GIVEN_UP] * 2, 1, "<Asking somebody closed 0 under way>")

    run_virtual(story())


def test_who_is_not_needed_any_more_answers_what_is_under_way():
    """A reload loses no request."""

    async def story() -> None:
        somebody = Somebody()
        somebody.slow_s = 0.5
        made, told = asking(somebody), []
        made.begin(b"sid", told.append)
        await made.retire()
        assert (told, somebody.closed) == ([GOOD], 1)
        await asking(somebody).retire()

    run_virtual(story())
