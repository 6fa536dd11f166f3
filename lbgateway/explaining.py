"""Who may have a request explained (``X-Gateway-Explain``): whom `/admin` lets in.

The field says ``1``, and the request's own ``Authorization`` decides; or it holds ``Bearer <token>`` itself, so that an operator
can send exactly what a client sends. It goes no further than here. Whoever may not know gets the answer of a request without it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from lbgateway.controlplane.admin_auth import AdminAccess, bearer, caller
from lbgateway.dataplane.head import EXPLAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from lbgateway.dataplane.head import RequestHead

log = structlog.get_logger("lbgateway.audit")

ASKED = b"1"
TELL_EVERY_S = 1.0


class MayExplain:
    """Called for each request with fields of that kind; `secluded`: the operators' door is not on this port.

    Then the loopback opens nothing here: a proxy on the same machine brings the requests of strangers from there.
    """

    def __init__(self, access: AdminAccess, *, secluded: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = replace(access, allow_loopback=False) if secluded else access
        self._clock = clock
        self._tell_at_s = clock()

    def __call__(self, head: RequestHead, peer: str) -> bool:
        asked = [value for name, value in head.forwarded or () if name == EXPLAIN]
        if len(asked) != 1:
            return False
        own = bearer(asked[0]) is not None
        if not own and asked[0] != ASKED:
            return False
        authorization = asked[0] if own else head.authorization
        # Keys that have to be fetched first bring no explanation either: the request does not wait for them.
        let_in = isinstance(caller(self._access, () if authorization is None else (authorization,), peer), str)
        if own and not let_in:
            self._tell(peer)
        return let_in

    def _tell(self, peer: str) -> None:
        """A token of an operator's that is none; what a client sends in `Authorization` is not meant for us."""
        now_s = self._clock()
        if now_s >= self._tell_at_s:
            self._tell_at_s = now_s + TELL_EVERY_S
            log.warning("admin access refused", reason="the token in X-Gateway-Explain is not valid", peer=peer)
