"""What every answer of the control plane has in common: an id, ``Via``, and no cache in between.

The outermost layer, so that a bug inside is answered here too: as 500, in the gateway's format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import MutableHeaders

from lbgateway.controlplane.answers import problem_response
from lbgateway.errors import GatewayError
from lbgateway.problem import VIA

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FIXED = {"via": VIA, "cache-control": "no-store", "x-content-type-options": "nosniff"}

log = structlog.get_logger(__name__)


class Envelope:
    """ASGI middleware. `new_request_id` makes ids; ``scope["state"]["request_id"]`` holds the present one."""

    def __init__(self, app: ASGIApp, new_request_id: Callable[[], str]) -> None:
        self.app = app
        self.new_request_id = new_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = scope.setdefault("state", {}).setdefault("request_id", self.new_request_id())
        started = False

        async def send_dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers.setdefault("x-request-id", request_id)
                for name, value in _FIXED.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, send_dressed)
        except Exception:
            log.exception("control_plane_bug", request_id=request_id, path=scope["path"])
            if started:
                raise
            await problem_response(GatewayError(), request_id)(scope, receive, send_dressed)
