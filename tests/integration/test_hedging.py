"""A real gateway whose instances hang now and then: clients wait for a second attempt, not for the end of the hang."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import httpx
import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.launch import wait_until
from tests.support.upstream_server import Connection, Handler, Received, UpstreamThread, answer, fixed

pytestmark = pytest.mark.alone

CLIENTS, REQUESTS = 8, 200
EVERY = 20
"""One in so many requests hangs at the instance that is asked first."""
HANG_S = 3.0
AFTER_S = 0.15
"""Well above what an answer takes on a machine that has other things to do."""


def hangs_now_and_then(asked_before: set[int]) -> Handler:
    """Answers at once, but for one in `EVERY` requests, at the instance that is the first to be asked it."""

    async def handle(request: Received, connection: Connection) -> bool:
        number = int(request.target.rpartition("/")[2])
        first = number not in asked_before
        asked_before.add(number)
        if first and number % EVERY == 0:
            await asyncio.sleep(HANG_S)
        await connection.send(answer(b"fine"))
        return True

    return handle


async def asked(port: int) -> list[float]:
    """How long each of the requests took, in seconds; all of them are answered."""
    took_s: list[float] = []
    numbers = iter(range(1, REQUESTS + 1))

    async def one(client: httpx.AsyncClient) -> None:
        for number in numbers:
            began_s = time.monotonic()
            response = await client.get(f"http://127.0.0.1:{port}/api/orders/{number}")
            took_s.append(time.monotonic() - began_s)
            assert (response.status_code, response.text) == (200, "fine")

    async with httpx.AsyncClient(timeout=HANG_S * 4) as client:
        await asyncio.gather(*(one(client) for _ in range(CLIENTS)))
    return sorted(took_s)


@pytest.mark.parametrize("transport", ["native", "httpx"])
def test_who_hangs_is_overtaken(transport):
    """Nobody waits for as long as an instance hangs; nobody is blamed; nothing is left behind."""
    asked_before: set[int] = set()
    with contextlib.ExitStack() as stack:
        instances = [stack.enter_context(UpstreamThread(hangs_now_and_then(asked_before))) for _ in range(3)]
        service: dict[str, Any] = {
            "instances": [instance.address for instance in instances],
            "transport": transport,
            "hedge": {"after": f"{AFTER_S * 1000:.0f}ms", "at_most": 1},
        }
        config = {"auth": {"default": "none"}, "discovery": {"provider": "static"}, "services": {"orders": service}}
        gateway = stack.enter_context(GatewayProcess(config))
        took_s = asyncio.run(asked(gateway.port))
        assert took_s[-1] < HANG_S, gateway.story()
        assert took_s[int(len(took_s) * 0.99)] < AFTER_S * 8, gateway.story()
        told = gateway.json("/admin/upstreams/orders")
        hedges = told["hedge"]["hedges_total"]
        assert REQUESTS // EVERY <= hedges <= REQUESTS // 4
        assert (told["hedge"]["after_ms"], told["retry_budget"]["spent_total"]) == (AFTER_S * 1000, hedges)
        assert [each["failures_total"] for each in told["instances"]] == [0, 0, 0]
        assert [each["active_requests"] + each["connections"]["active"] for each in told["instances"]] == [0, 0, 0]
        assert f'lbgateway_hedges_total{{service="orders"}} {float(hedges)}' in gateway.get("/metrics")[1].decode()
        wait_until(lambda: gateway.log().count('"hedged":true') == hedges, 5, gateway.log)


class Moody:
    """Answers with 502, never, or well, as it is told."""

    def __init__(self) -> None:
        self.mood = "fails"

    async def handle(self, _: Received, connection: Connection) -> bool:
        if self.mood == "hangs":
            await asyncio.sleep(HANG_S * 4)
        await connection.send(answer(b"fine") if self.mood == "well" else answer(b"sorry", status="502 Bad Gateway"))
        return True


@pytest.mark.parametrize("transport", ["native", "httpx"])
def test_a_trial_that_is_overtaken_still_decides(transport):
    """No client waits for an instance that is out and hangs, and yet it stays out because its trials fail; then one brings it back."""
    moody = Moody()
    with UpstreamThread(moody.handle) as bad, UpstreamThread(fixed(answer(b"fine"))) as good:
        service: dict[str, Any] = {
            "instances": [bad.address, good.address],
            "transport": transport,
            "hedge": {"after": f"{AFTER_S * 1000:.0f}ms", "at_most": 1},
            "outlier": {"consecutive_failures": 1, "eject_for": "300ms"},
            "timeout": {"response": f"{HANG_S:g}s"},
        }
        config = {"auth": {"default": "none"}, "discovery": {"provider": "static"}, "services": {"orders": service}}
        with GatewayProcess(config) as gateway:
            took_s: list[float] = []

            def told() -> tuple[str, str | None]:
                """What is said of the bad one, after one more request."""
                began_s = time.monotonic()
                assert gateway.get("/api/orders/1") == (200, b"fine")
                took_s.append(time.monotonic() - began_s)
                [instance] = [each for each in gateway.json("/admin/upstreams/orders")["instances"] if each["port"] == bad.port]
                return instance["state"], instance["reason"]

            wait_until(lambda: told()[0] == "ejected", 10, gateway.story)
            moody.mood = "hangs"
            wait_until(lambda: told() == ("ejected", "its trial request failed: no answer"), HANG_S + 10, gateway.story)
            assert max(took_s) < HANG_S, gateway.story()
            moody.mood = "well"
            wait_until(lambda: told()[0] == "ready", HANG_S + 10, gateway.story)
