"""A stop signal first makes a service leave the registry, and stops its server a little later."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from discovery.stop_signals import STOP_SIGNALS, stop_postponed


@pytest.fixture
def stopped_at_s() -> Iterator[list[float]]:
    """When the server's own handler was called; the handlers of the test's process come back afterwards."""
    moments: list[float] = []
    before = {number: signal.signal(number, lambda *_: moments.append(time.monotonic())) for number in STOP_SIGNALS}
    yield moments
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
async def test_a_signal_makes_us_leave_and_the_server_stop_later(stopped_at_s: list[float], number: signal.Signals) -> None:
    """In between it goes on serving those who have not heard yet."""
    left_at_s: list[float] = []
    with stop_postponed(lambda: left_at_s.append(time.monotonic()), 0.2):
        signal.raise_signal(number)
        assert (len(left_at_s), stopped_at_s) == (1, [])
        await asyncio.sleep(0.4)
    assert stopped_at_s[0] - left_at_s[0] >= 0.19


async def test_a_second_signal_is_not_kept_waiting(stopped_at_s: list[float]) -> None:
    """Somebody is impatient."""
    left: list[None] = []
    with stop_postponed(lambda: left.append(None), 60):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert (len(left), len(stopped_at_s)) == (1, 1)


async def test_afterwards_the_handlers_are_the_server_s_again(stopped_at_s: list[float]) -> None:
    """Unless somebody else has taken the place meanwhile."""
    server, other = signal.getsignal(signal.SIGTERM), (lambda *_: None)
    with stop_postponed(lambda: None, 1):
        signal.signal(signal.SIGINT, other)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == (server, other)


async def test_without_a_delay_or_off_the_main_thread_nothing_changes(stopped_at_s: list[float]) -> None:
    """Only the main thread may set handlers."""
    server = signal.getsignal(signal.SIGTERM)
    with stop_postponed(lambda: None, 0):
        assert signal.getsignal(signal.SIGTERM) == server

    def elsewhere() -> None:
        with stop_postponed(lambda: None, 1):
            pass

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == server
