"""One check of one instance: a connection of its own, so that it says something about new ones."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from lbgateway import __version__
from lbgateway.dataplane.reach import HttpxReach

if TYPE_CHECKING:
    from lbgateway.dataplane.reach import Reach
    from lbgateway.dataplane.rules import CheckRules

USER_AGENT = f"lbgateway/{__version__} (health check)"

CLEARTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Takes the place of the default, which reads all certificates of the machine and is not used."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one instance is, and how it is reached (None: by plain TCP)."""

    host: str
    port: int
    reach: Reach | None = None

    @property
    def proxy(self) -> str | None:
        """What stands before it."""
        return self.reach.proxy_for(self.host, self.port) if isinstance(self.reach, HttpxReach) else None


async def probe(place: Place, rules: CheckRules) -> str | None:
    """None if it is well, or what is wrong, in words for an operator. Takes no longer than the rules say."""
    try:
        async with asyncio.timeout(rules.timeout_s):
            if rules.path is not None:
                return rules.judge(await _get(place, rules.path))
            await _connect(place)
    except TimeoutError:
        return f"{_asked(rules)}: no answer within {rules.timeout_s:g} s"
    except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{_asked(rules)}: {_cause(error)}"
    return None


async def _connect(place: Place) -> None:
    _, writer = await asyncio.open_connection(place.host, place.port)
    writer.close()
    with contextlib.suppress(OSError):  # it was there, which is all that we wanted to know
        await writer.wait_closed()


async def _get(place: Place, path: str) -> int:
    """The status; of the body nothing is read."""
    reach = place.reach
    context = reach.context if reach is not None else None
    url = httpx.URL(scheme="http" if context is None else "https", host=place.host, port=place.port, raw_path=path.encode())
    extensions = {"sni_hostname": reach.server_name} if reach is not None and reach.server_name else {}
    headers = {"User-Agent": USER_AGENT, "Connection": "close"}
    client = httpx.AsyncClient(verify=context or CLEARTEXT, timeout=None, trust_env=False, proxy=place.proxy)  # noqa: S113 bounded by the caller
    async with client, client.stream("GET", url, headers=headers, extensions=extensions) as answer:
        return answer.status_code


def _asked(rules: CheckRules) -> str:
    return f"GET {rules.path}" if rules.path is not None else "TCP connect"


def _cause(error: BaseException) -> str:
    """The system's words, which httpx wraps into its own."""
    inner = error.__cause__ or error.__context__
    while inner is not None and not isinstance(error, OSError):
        error, inner = inner, inner.__cause__ or inner.__context__
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
