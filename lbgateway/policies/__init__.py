"""What may say no to a request, one policy a file, in this order.

The order is the contract's (section 7): who is asking comes before what a subject may do. A policy is a
function of an exchange that returns None or a rejection; it never raises and never waits. `compile_admit`
gives each route the policies that concern it, so that a request meets no others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from lbgateway.errors import GatewayError
    from lbgateway.policies.jwt_auth import TokenVerifier

    Admit = Callable[[Any], GatewayError | None]


class HasAuth(Protocol):
    """The part of a route that decides about its policies."""

    @property
    def auth(self) -> str: ...


def compile_admit(route: HasAuth, verifier: TokenVerifier | None) -> tuple[Admit, ...]:
    """The policies of one route, in their order. A route that requires a token without a verifier lets nobody pass."""
    if route.auth == "none":
        return ()
    if verifier is None:
        return () if route.auth == "optional" else (_nobody,)
    return (verifier.optional if route.auth == "optional" else verifier.required,)


def _nobody(_exchange: Any) -> GatewayError | None:
    from lbgateway.errors import Unauthenticated  # noqa: PLC0415 only a configuration that `check` refuses gets here

    return Unauthenticated(headers=b'WWW-Authenticate: Bearer error="invalid_token"\r\n')
