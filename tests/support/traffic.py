"""Clients that never stop asking, and remember how each answer came.

with Traffic(gateway.port, "/api/orders/x") as traffic:
    ...                                     # restart things
assert traffic.bad() == []
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Self

from tests.support.upstream_server import Connection, Received, answer

REFUSED = "refused"
"""The outcome of a new connection that nobody accepts: all that a stopping gateway may do to a client."""


@dataclass(frozen=True)
class Told:
    """One request's fate: a status, or why there is none."""

    at_s: float
    outcome: int | str
    body: bytes = b""


class Traffic:
    """`clients` threads, each with a keep-alive connection of its own, about a thousand requests per second in all.

    A client gives up when its new connection is refused and `until_refused` is set; every other failure
    is noted, and it goes on.
    """

    def __init__(
        self,
        port: int,
        path: str,
        *,
        clients: int = 4,
        pause_s: float = 0.004,
        headers: dict[str, str] | None = None,
        until_refused: bool = False,
    ) -> None:
        self.port = port
        self.path = path
        self.pause_s = pause_s
        self.headers = headers or {}
        self.until_refused = until_refused
        self.told: list[Told] = []
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, name=f"client {n}", daemon=True) for n in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Wait for the running requests; may be called twice."""
        self._stopping.set()
        self.join()

    def join(self, seconds: float = 20) -> None:
        """Wait until all clients have ended by themselves."""
        for thread in self._threads:
            thread.join(seconds)
            assert not thread.is_alive(), "a client still waits for its answer"

    def bad(self, good: tuple[int | str, ...] = (200,)) -> list[Told]:
        """Every request that did not end as it should; an empty list after at least one that did."""
        assert self.told, "no request was made"
        return [each for each in self.told if each.outcome not in good]

    def outcomes(self) -> Counter[int | str]:
        return Counter(each.outcome for each in self.told)

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        while not self._stopping.is_set():
            told = self._ask(connection)
            self.told.append(told)
            if told.outcome == REFUSED and self.until_refused:
                break
            time.sleep(self.pause_s)
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> Told:
        try:
            if connection.sock is None:
                connection.connect()
        except ConnectionRefusedError:
            return Told(time.monotonic(), REFUSED)
        except OSError as error:
            return Told(time.monotonic(), f"connecting: {error!r}")
        try:
            connection.request("GET", self.path, headers=self.headers)
            response = connection.getresponse()
            return Told(time.monotonic(), response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return Told(time.monotonic(), repr(error))


class Instance:
    """A handler that answers with its name, and notes when each request arrived."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.arrivals_s: list[float] = []

    async def __call__(self, request: Received, connection: Connection) -> bool:
        self.arrivals_s.append(time.monotonic())
        await connection.send(answer(self.name.encode()))
        return True


def config_for(consul_url: str, **more: Any) -> dict[str, Any]:
    """A gateway over `consul_url`, without authentication unless `more` says otherwise."""
    return {"auth": {"default": "none"}, "discovery": {"consul": {"url": consul_url}}, **more}
