"""The development registry in a thread of its own, so that blocking clients can talk to it from the test's thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Self

from discovery.embedded import EmbeddedRegistry


class RegistryThread:
    """Starts and stops like a server process; the port stays the same over restarts. `make` is the class of the registry."""

    def __init__(self, make: Callable[..., EmbeddedRegistry] = EmbeddedRegistry, **options: Any) -> None:
        self.make = make
        self.options = options
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="registry")
        self._thread.start()
        self.registry = make(**options)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        self._run(self.registry.start(port=self.port))
        self.port = self.registry.port
        return self

    def kill(self) -> None:
        """Cut everybody off."""
        self._run(self.registry.aclose())

    def restart(self, *, empty: bool = False) -> None:
        self.kill()
        if empty:
            self.registry = self.make(**self.options)
        self.start()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Accepts connections and answers nothing."""
        gate = threading.Event()
        self._loop.call_soon_threadsafe(gate.wait)
        try:
            yield
        finally:
            gate.set()

    def close(self) -> None:
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(10)
