"""The only file that talks to Consul. Errors of httpx are translated here and nowhere else.

HTTP/1.1 on purpose: over HTTP/2, httpx lets a ready answer wait behind the long polls that share its
connection.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final, TypeAlias

import httpx

from discovery.budget import PLAIN, SOCKETS, SlotBudget
from discovery.consul_wire import WAIT_JITTER, parameters, reply
from discovery.errors import ConnectionLost, DiscoveryError, MalformedAnswer, Misconfigured, ReadTimedOut, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from discovery.consul_wire import Read, Reply

Credential: TypeAlias = "str | Callable[[], str | None] | None"

CONNECT_S: Final = 2.0
ANSWER_S: Final = 60.0
"""How long an answer may be on its way, once it has begun: thousands of instances over a slow line."""
TOO_MANY_S: Final = 1.0
"""A blocking read that is cut sooner than this while others stay blocked: the agent has too many connections."""

_TRANSLATION: Final[tuple[tuple[type[Exception], type[DiscoveryError]], ...]] = (
    (httpx.ConnectError, Unreachable),
    (httpx.ConnectTimeout, Unreachable),
    (httpx.TimeoutException, ReadTimedOut),
    (httpx.NetworkError, ConnectionLost),
    (httpx.RemoteProtocolError, ConnectionLost),
    (httpx.DecodingError, MalformedAnswer),
    (httpx.UnsupportedProtocol, Misconfigured),
    (httpx.InvalidURL, Misconfigured),
)


def translate(error: Exception) -> DiscoveryError:
    """What an error of httpx means for discovery."""
    kind = next((ours for theirs, ours in _TRANSLATION if isinstance(error, theirs)), DiscoveryError)
    text = str(error) or type(error).__name__
    return Unreachable(text, refused=_refused(error)) if kind is Unreachable else kind(text)


def _refused(error: BaseException | None) -> bool:
    """Whether nothing listens there: somewhere below an error of httpx lies the system's own."""
    while error is not None:
        inner = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error
        if isinstance(inner, ConnectionRefusedError):
            return True
        error = inner.__cause__ or inner.__context__
    return False


class ConsulClient:
    """One agent, and never more than `SOCKETS` connections to it.

    Two pools: long polls, with their slots from `budget`, must neither keep a short read waiting nor use up
    its connections, on which an agent that takes no more still answers.
    `verify` as from `tls_context`; `transport` replaces the network.

    Raises:
        ValueError: `url` is none of http:// or https://.

    """

    def __init__(
        self,
        url: str,
        *,
        token: Credential = None,
        datacenter: str | None = None,
        verify: ssl.SSLContext | bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
        budget: SlotBudget | None = None,
    ) -> None:
        if not url.lower().startswith(("http://", "https://")):
            raise ValueError(f"the URL of Consul must begin with http:// or https://, not {url!r}")
        self.url = url.rstrip("/")
        self._token = token
        self._datacenter = datacenter
        self.budget = budget or SlotBudget(clock=time.monotonic)
        self._lanes = asyncio.Semaphore(PLAIN)
        self._plain, self._blocking = (
            httpx.AsyncClient(
                base_url=self.url,
                headers={"Accept-Encoding": "gzip"},
                transport=transport or _transport(verify, most),
                trust_env=False,
            )
            for most in (PLAIN, SOCKETS - PLAIN)
        )

    async def ask(self, path: str, read: Read) -> Reply:
        """Perform one read; `path` is percent-encoded.

        Raises:
            DiscoveryError: no complete answer came. An answer of any status is returned.

        """
        if read.index:
            return await self._block(path, read)
        async with self._lanes:
            return await self._get(self._plain, path, read)

    async def _block(self, path: str, read: Read) -> Reply:
        budget = self.budget
        await budget.take()
        began_s = budget.now_s()
        until_s = began_s + read.wait_s * WAIT_JITTER
        try:
            answer = await self._get(self._blocking, path, read)
        except Unreachable as error:
            budget.give_back()  # it never got there
            if error.refused:
                budget.clear()
            raise
        except BaseException as error:  # cancelled, too
            budget.linger(until_s)
            if isinstance(error, ConnectionLost) and budget.now_s() - began_s < TOO_MANY_S:
                budget.squeeze(until_s)
            raise
        budget.give_back()
        if answer.status == 429:
            budget.squeeze(until_s)
        return answer

    async def _get(self, client: httpx.AsyncClient, path: str, read: Read) -> Reply:
        timeout = httpx.Timeout(read.timeout_s, connect=CONNECT_S, pool=None)
        query = parameters(read, self._datacenter)
        try:
            # httpx's time is that of each read: an answer that comes byte by byte would never be late.
            async with asyncio.timeout(CONNECT_S + read.timeout_s + ANSWER_S):
                response = await client.get(path, params=query, headers=self._credentials(), timeout=timeout)
        except TimeoutError:
            raise ReadTimedOut(f"{self.url} does not come to the end of its answer") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise translate(error) from error
        return reply(response.status_code, response.headers, response.content)

    def _credentials(self) -> dict[str, str]:
        """A header, never a parameter: those land in logs."""
        token = self._token() if callable(self._token) else self._token
        if not token:
            return {}
        token = token.strip()
        if not (token.isascii() and token.isprintable()):
            raise Misconfigured("the token contains characters that no header can carry")
        return {"X-Consul-Token": token}

    async def aclose(self) -> None:
        """Close all connections; may be called twice."""
        await self._plain.aclose()
        await self._blocking.aclose()


def tls_context(url: str, ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext | bool:
    """What to verify with: the PEM files named, or the system's authorities.

    False for http, where building a context would only cost time.

    Raises:
        OSError: a file cannot be read, or is no certificate or key.

    """
    if not url.lower().startswith("https:"):
        return False
    context = ssl.create_default_context(cafile=ca)
    if cert:
        context.load_cert_chain(cert, key)
    return context


def _transport(verify: ssl.SSLContext | bool, most: int) -> httpx.AsyncHTTPTransport:  # noqa: FBT001 httpx's own word and type
    limits = httpx.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=30.0)
    return httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=limits, socket_options=_socket_options())


def _socket_options() -> list[tuple[int, int, int]]:
    """Let the kernel notice a half-open long poll: probes after 15 s, every 5 s, three of them."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # not every system has them
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options
