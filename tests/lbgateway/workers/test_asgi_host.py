"""The parent's half of `asgi_relay`, whose tests have both: here is what only the parent sees."""

from __future__ import annotations

import asyncio
from typing import Any

from lbgateway.workers.asgi_host import Hosting
from lbgateway.workers.asgi_relay import scope_facts
from lbgateway.workers.link import Link
from tests.lbgateway.workers.test_asgi_relay import SCOPE
from tests.support.worker_gateways import heard


async def test_when_a_worker_is_gone_its_requests_end():
    """Its clients are gone with it."""
    ended = []

    async def endless(_scope: Any, receive: Any, _send: Any) -> None:
        try:
            await receive()
            await receive()
        finally:
            ended.append("request")

    hosting = Hosting(Link(lambda _frame: None, lambda: None), lambda: endless)
    for number in range(3):
        assert hosting.hear(heard("request", b"", {"number": number, "scope": scope_facts(SCOPE)}))
    await asyncio.sleep(0)
    hosting.end()
    await asyncio.sleep(0.01)
    assert ended == ["request"] * 3


async def test_what_is_about_nobody_or_something_else_does_no_harm():
    """A client that left when its answer was complete; other frames are left to others."""
    hosting = Hosting(Link(lambda _frame: None, lambda: None), lambda: None)  # type: ignore[arg-type,return-value]  # never asked
    assert hosting.hear(heard("request_over", b"", {"number": 7}))
    assert hosting.hear(heard("taken", b"", {"number": 7}))
    assert not hosting.hear(heard("report", b"", {}))
