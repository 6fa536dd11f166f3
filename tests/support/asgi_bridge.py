"""An ASGI application behind a synchronous httpx client, without a socket."""

from __future__ import annotations

import asyncio

import httpx
from starlette.types import ASGIApp


class AsgiBridge(httpx.BaseTransport):
    """Each request runs on a loop of its own. ``asked`` holds the URLs; the peer is not local."""

    def __init__(self, app: ASGIApp, peer: str = "192.0.2.7") -> None:
        self._transport = httpx.ASGITransport(app, client=(peer, 4711))
        self.asked: list[httpx.URL] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        return asyncio.run(self._ask(request))

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        answer = await self._transport.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())
