"""Who did what at the operators' door, and who was turned away there: one event each, by the logger ``lbgateway.audit``.

Told is what was asked and how it ended, never a credential: who it was is the subject of a token, not the token.
A crowd that is turned away is told of in part, with how many were not: it must not fill the log.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from lbgateway.errors import GatewayError

log = structlog.get_logger("lbgateway.audit")

READING = frozenset(("GET", "HEAD", "OPTIONS"))
REFUSALS_A_SECOND = 10


class Audit:
    """ASGI middleware inside of the envelope.

    The guard leaves in ``scope["state"]`` whom it let in (`caller`), or why not (`refusal`); an action, what was `done`.
    """

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.monotonic) -> None:
        self.app = app
        self._clock = clock
        self._since_s = clock()
        self._told = self._untold = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 500

        async def send_watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_watched)
        finally:
            state = scope.get("state", {})
            if state.get("refusal") is not None:
                self._tell_refusal(scope, status, state["refusal"])
            elif state.get("caller") is not None and scope["method"] not in READING:
                log.info("admin call", who=state["caller"], **_facts(scope, status), **state.get("done", {}))

    def _tell_refusal(self, scope: Scope, status: int, refusal: GatewayError) -> None:
        now_s = self._clock()
        if now_s - self._since_s >= 1.0:
            self._since_s, self._told = now_s, 0
        if self._told >= REFUSALS_A_SECOND:
            self._untold += 1
            return
        self._told += 1
        more = {"not_told_before": self._untold} if self._untold else {}
        self._untold = 0
        log.warning("admin access refused", reason=refusal.cause or refusal.detail, **_facts(scope, status), **more)


def _facts(scope: Scope, status: int) -> dict[str, Any]:
    client = scope.get("client")
    return {
        "peer": client[0] if client else None,
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "request_id": scope["state"].get("request_id"),
    }
