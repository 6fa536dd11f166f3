"""A connection to ``admin.listen``: the gateway's own paths and nothing else, whatever the routes say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lbgateway.dataplane.asgi import AsgiExchange
from lbgateway.dataplane.handlers import REFUSED_METHODS, choose_handler
from lbgateway.dataplane.protocol import GatewayProtocol
from lbgateway.dataplane.target import normalise

if TYPE_CHECKING:
    from lbgateway.dataplane.handlers import Handler
    from lbgateway.dataplane.head import RequestHead
    from lbgateway.dataplane.plane import DataPlane
    from lbgateway.errors import GatewayError

SPARE = 32
"""Operators and probes still get in when clients have taken all of `server.max_connections`."""


def choose_own(plane: DataPlane, head: RequestHead, error: GatewayError | None) -> Handler:
    """The gateway's application answers every request, with 404 where it does not know the path."""
    target = normalise(head.target)
    if error is not None or target is None or head.method in REFUSED_METHODS:
        return choose_handler(plane, head, error)
    head.resolved = target
    return AsgiExchange(plane.application)


class AdminProtocol(GatewayProtocol):
    """Answers by the application alone."""

    __slots__ = ()

    choose = staticmethod(choose_own)
    spare = SPARE

    def _begin_again(self, data: bytes, length: int) -> bool:  # noqa: ARG002 the signature of the others
        """Few ask here, and what is known of the others' requests is not true of these: each is read anew."""
        return False
