"""What a subject may do: the scopes that a route asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lbgateway.errors import Forbidden, GatewayError
from lbgateway.policies.identity import needs_none

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class RequiredScopes:
    """A policy: the subject needs all of `scopes`. Comes after those that find out who is asking."""

    __slots__ = ("_challenge", "_count_failure", "_detail", "_needed")

    def __init__(self, scopes: Iterable[str], count_failure: Callable[[str], None]) -> None:
        self._needed = frozenset(scopes)
        wanted = " ".join(sorted(self._needed))
        self._detail = f"The token lacks a scope that is needed here: {wanted}"
        # RFC 6750, section 3.1. The names of scopes hold neither quotes nor spaces, see `config.route`.
        self._challenge = f'WWW-Authenticate: Bearer error="insufficient_scope", scope="{wanted}"\r\n'.encode()
        self._count_failure = count_failure

    def __call__(self, exchange: Any) -> GatewayError | None:
        identity = exchange.identity
        if identity is not None and self._needed <= identity.scopes:
            return None
        if identity is None and needs_none(exchange):
            return None
        self._count_failure("scope")
        return Forbidden(self._detail, headers=self._challenge)
