"""A provider of keys: a real HTTP server in a thread of the test's process."""

from __future__ import annotations

import time
from typing import Any

from tests.support.http_thread import HttpThread, Quiet
from tests.support.tokens import jwks


class JwksServer(HttpThread):
    """Serves `keys` at `url`, and at any other address that has no page of its own; may be stopped and started again on the same port."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        super().__init__()
        self.document = jwks(*keys)
        self.pages: dict[str, bytes] = {}
        """What lies at a path beside the keys."""
        self.asked_at_s: list[float] = []
        self.asked_for: list[str] = []
        self.url = f"http://127.0.0.1:{self.port}/jwks"

    def publish(self, *keys: dict[str, Any]) -> None:
        """From now on these are all keys."""
        self.document = jwks(*keys)

    def handler(self) -> type[Quiet]:
        provider = self

        class Handler(Quiet):
            def do_GET(self) -> None:  # noqa: N802 as http.server calls it
                provider.asked_at_s.append(time.monotonic())
                provider.asked_for.append(self.path)
                provider.open.wait(10)
                self.answer(provider.pages.get(self.path, provider.document), "application/jwk-set+json")

        return Handler
