"""The gateway's own calls: where they may go, and how much of an answer is read."""

from __future__ import annotations

import httpx
import pytest

from lbgateway.own_client import UnusableAnswer, fetch, own_client


@pytest.mark.parametrize(("url", "proxies"), [("http://127.0.0.1:9/jwks", False), ("https://issuer.example/jwks", True)])
async def test_proxies_of_the_environment_are_for_addresses_outside(url, proxies):
    """What is on this machine is asked directly."""
    async with await own_client(url, 1.0, accept="application/json") as client:
        assert (client.trust_env, client.follow_redirects) == (proxies, False)


class Body(httpx.AsyncByteStream):
    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    async def __aiter__(self):
        for piece in self.pieces:
            yield piece


def answering(response: httpx.Response | Exception) -> httpx.AsyncBaseTransport:
    def handle(_request: httpx.Request) -> httpx.Response:
        if isinstance(response, Exception):
            raise response
        return response

    return httpx.MockTransport(handle)


async def outcome(response: httpx.Response | Exception) -> tuple[int, bytes] | str:
    async with await own_client("http://auth/", 1.0, accept="text/plain", transport=answering(response)) as client:
        try:
            return await fetch(client, client.build_request("GET", "http://auth/"), 8)
        except UnusableAnswer as error:
            return str(error)


@pytest.mark.parametrize(
    ("response", "found"),
    [
        (httpx.Response(200, stream=Body(b"1234", b"5678")), (200, b"12345678")),
        (httpx.Response(401, stream=Body()), (401, b"")),
        (httpx.Response(302, stream=Body(), headers={"Location": "http://evil.example/"}), (302, b"")),
        (httpx.Response(200, stream=Body(b"1234", b"56789")), "the answer is larger than 0 KiB"),
        (httpx.ConnectError("refused"), "refused"),
        (httpx.ReadTimeout(""), "ReadTimeout"),
    ],
)
async def test_an_answer_is_whole_or_none(response, found):
    """Of any status; a redirect is not followed."""
    assert await outcome(response) == found
