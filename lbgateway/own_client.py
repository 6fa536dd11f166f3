"""A client of httpx for the gateway's own calls: to an issuer of keys, to whoever knows about sessions."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import httpx

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class UnusableAnswer(Exception):
    """An answer that cannot be used, or none; the text says why, for operators, without what was asked."""


async def own_client(url: str, timeout_s: float, *, accept: str, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """For calls to `url`. Redirects are not followed: whoever answers could send the gateway, and what it knows, elsewhere."""
    if transport is not None:
        return _made(url, timeout_s, accept, transport)
    # Making one takes a tenth of a second and more, during which requests shall go on.
    return await asyncio.to_thread(_made, url, timeout_s, accept, transport)


def _made(url: str, timeout_s: float, accept: str, transport: httpx.AsyncBaseTransport | None) -> httpx.AsyncClient:
    parts = urlsplit(url)
    # An outgoing proxy of the environment is for addresses outside of this machine.
    outside = parts.hostname not in LOOPBACK and transport is None
    verify = httpx.create_ssl_context() if parts.scheme == "https" else False
    headers = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": "lbgateway"}
    return httpx.AsyncClient(headers=headers, timeout=timeout_s, trust_env=outside, verify=verify, transport=transport)


async def fetch(client: httpx.AsyncClient, request: httpx.Request, most_bytes: int) -> tuple[int, bytes]:
    """Status and body of one answer, bounded in size. Raises `UnusableAnswer`."""
    try:
        response = await client.send(request, stream=True)
        try:
            body = b""
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > most_bytes:
                    raise UnusableAnswer(f"the answer is larger than {most_bytes // 1024} KiB")
            return response.status_code, body
        finally:
            await response.aclose()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnusableAnswer(str(error) or type(error).__name__) from error
