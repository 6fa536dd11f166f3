"""Carries out the checks: one task per HTTP or TCP check, one timer for all TTLs, one task that tidies."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import httpx

from discovery.embedded.records import CRITICAL, PASSING, WARNING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random

    from discovery.embedded.agent import LocalAgent
    from discovery.embedded.records import CheckDefinition

TIDY_INTERVAL_S = 30.0
OUTPUT_READ_BYTES = 4096

_HEADERS = {"User-Agent": "Consul Health Check", "Accept": "text/plain, text/*, */*", "Connection": "close"}


class Streak:
    """Consecutive results: a check turns only after as many of a kind as its definition asks for."""

    __slots__ = ("_bad", "_definition", "_good")

    def __init__(self, definition: CheckDefinition) -> None:
        self._definition = definition
        self._good = 0
        self._bad = 0

    def counts(self, status: str) -> bool:
        """Whether this result is to be believed."""
        if status == CRITICAL:
            self._good, self._bad = 0, self._bad + 1
            return self._bad >= self._definition.failures_before_critical
        self._good, self._bad = self._good + 1, 0
        return self._good >= self._definition.success_before_passing


class HealthRunner:
    """Keeps one probing task per HTTP or TCP check that the agent has, and tells it when TTLs run out."""

    def __init__(self, agent: LocalAgent, clock: Callable[[], float], random: Random, tidy_interval_s: float = TIDY_INTERVAL_S) -> None:
        # for life
        self._agent = agent
        self._clock = clock
        self._random = random
        self._tidy_interval_s = tidy_interval_s
        # while running
        self._probes: dict[str, tuple[CheckDefinition, asyncio.Task[None]]] = {}
        self._ttl_timer: asyncio.TimerHandle | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._clients: dict[bool, httpx.AsyncClient] = {}

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._tidying = asyncio.get_running_loop().create_task(self._tidy_forever(), name="registry tidy")
        self.refresh()

    def refresh(self) -> None:
        """Adjust to the checks that the agent has now. A check that stayed the same goes on undisturbed."""
        if self._tidying is None:
            return
        definitions = {key: one.definition for key, one in self._agent.checks.items()}
        wanted = {key: one for key, one in definitions.items() if one is not None and one.kind != "ttl"}
        for check_id in [key for key, (definition, _) in self._probes.items() if wanted.get(key) != definition]:
            self._probes.pop(check_id)[1].cancel()
        for check_id, definition in wanted.items():
            if check_id not in self._probes:
                self._probes[check_id] = (definition, self._begin(self._probe_forever(definition), check_id))
        self._set_ttl_timer()

    async def aclose(self) -> None:
        """End all checks at once; what they found stays."""
        tasks = [task for _, task in self._probes.values()] + ([self._tidying] if self._tidying else [])
        self._probes, self._tidying = {}, None
        if self._ttl_timer is not None:
            self._ttl_timer.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    def _begin(self, work: Coroutine[None, None, None], check_id: str) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work, name=f"check {check_id}")

    def _set_ttl_timer(self) -> None:
        if self._ttl_timer is not None:
            self._ttl_timer.cancel()
        deadline_s = self._agent.next_deadline_s()
        if deadline_s is not None:
            # Heartbeats move deadlines back without telling; the timer then finds nothing and is set anew.
            delay_s = max(0.0, deadline_s - self._clock())
            self._ttl_timer = asyncio.get_running_loop().call_later(delay_s, self._expire_ttls)

    def _expire_ttls(self) -> None:
        self._agent.expire_ttls(self._clock())
        self._set_ttl_timer()

    async def _tidy_forever(self) -> None:
        while True:
            await asyncio.sleep(self._tidy_interval_s)
            self._agent.tidy(self._clock())

    async def _probe_forever(self, definition: CheckDefinition) -> None:
        streak = Streak(definition)
        # Checks that were registered together shall not all be due at once.
        await asyncio.sleep(self._random.uniform(0, definition.interval_s))
        while True:
            status, output = await (self._probe_http(definition) if definition.kind == "http" else _probe_tcp(definition))
            if streak.counts(status):
                self._agent.report(definition.id, status, output, self._clock())
            await asyncio.sleep(definition.interval_s)

    async def _probe_http(self, definition: CheckDefinition) -> tuple[str, str]:
        client = self._client(verify=not definition.tls_skip_verify)
        headers = [*_HEADERS.items(), *((name, value) for name, values in definition.header.items() for value in values)]
        request = (definition.method, definition.http)
        try:
            async with (
                asyncio.timeout(definition.timeout_s),
                client.stream(*request, headers=headers, content=definition.body.encode() or None) as response,
            ):
                text = await _beginning(response)
        except TimeoutError:
            return CRITICAL, f'{definition.method} "{definition.http}": no answer within {definition.timeout_s:g}s'
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return CRITICAL, f'{definition.method} "{definition.http}": {str(error) or type(error).__name__}'
        output = f"HTTP {definition.method} {definition.http}: {response.status_code} {response.reason_phrase} Output: {text}"
        return http_status(response.status_code), output

    def _client(self, *, verify: bool) -> httpx.AsyncClient:
        if verify not in self._clients:
            # Built on first use (reading the CA bundle takes a while), and never through a proxy.
            self._clients[verify] = httpx.AsyncClient(
                verify=verify,
                trust_env=False,
                follow_redirects=True,
                timeout=None,  # noqa: S113 the whole check has one time limit, around the call
                limits=httpx.Limits(max_keepalive_connections=0),
            )
        return self._clients[verify]


def http_status(code: int) -> str:
    """What the answer to an HTTP check means: 2xx is fine, 429 a warning, all else is not."""
    if 200 <= code < 300:
        return PASSING
    return WARNING if code == 429 else CRITICAL


async def _beginning(response: httpx.Response) -> str:
    read = b""
    async for chunk in response.aiter_bytes():
        read += chunk
        if len(read) >= OUTPUT_READ_BYTES:
            break
    return read[:OUTPUT_READ_BYTES].decode("utf-8", "replace")


async def _probe_tcp(definition: CheckDefinition) -> tuple[str, str]:
    host, _, port = definition.tcp.rpartition(":")
    try:
        async with asyncio.timeout(definition.timeout_s):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    except TimeoutError:
        return CRITICAL, f"dial tcp {definition.tcp}: no connection within {definition.timeout_s:g}s"
    except (OSError, ValueError) as error:
        return CRITICAL, f"dial tcp {definition.tcp}: {error}"
    return PASSING, f"TCP connect {definition.tcp}: Success"
