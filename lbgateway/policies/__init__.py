"""What may say no to a request, one policy a file, in this order.

The order is the contract's (section 7): limits by client, header or route come first, who is asking comes before what
a subject may do, limits by subject or claim come last. A policy is a
function of an exchange that returns None or a rejection; it never raises and never waits. One that has to know
more first returns a `wait.Wait`. `compile_admit` gives each route the policies that concern it, so that a request
meets no others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from lbgateway.errors import INVALID_TOKEN, Unauthenticated
from lbgateway.policies.scopes import RequiredScopes

if TYPE_CHECKING:
    from collections.abc import Callable

    from lbgateway.errors import GatewayError
    from lbgateway.policies.answer import Answer
    from lbgateway.policies.checks import Checks
    from lbgateway.policies.cors import Cors
    from lbgateway.policies.rate_limit import LimitPolicy
    from lbgateway.policies.wait import Wait

    Admit = Callable[[Any], GatewayError | Answer | Wait | None]


class HasAuth(Protocol):
    """The part of a route that decides about its policies."""

    @property
    def auth(self) -> str: ...

    @property
    def cors(self) -> Cors | None: ...

    @property
    def scopes(self) -> tuple[str, ...]: ...


def compile_admit(
    route: HasAuth, auth: Checks | None, count_failure: Callable[[str], None], limit: LimitPolicy | None = None
) -> tuple[Admit, ...]:
    """The policies of one route, in their order; `count_failure` takes the reasons of refusals.

    A route that requires a token that nobody can check lets nobody pass.
    """
    first: tuple[Admit, ...] = () if route.cors is None else (route.cors.admit,)
    who = _token(route, auth, count_failure)
    if limit is None:
        return first + who
    # A flood is turned away before it costs a signature's check; whom a token names is known only behind it.
    from lbgateway.policies.limit_key import needs_identity  # noqa: PLC0415 once for each route

    return (*first, *who, limit.admit) if needs_identity(limit.limit.key) else (*first, limit.admit, *who)


def _token(route: HasAuth, auth: Checks | None, count_failure: Callable[[str], None]) -> tuple[Admit, ...]:
    # Also where nobody is asked who it is, which `check` refuses: then nobody has a scope.
    what: tuple[Admit, ...] = (RequiredScopes(route.scopes, count_failure),) if route.scopes else ()
    if route.auth == "none":
        return what
    if auth is None:
        return what if route.auth == "optional" else (_nobody,)
    return (*auth.policies(optional=route.auth == "optional"), *what)


def _nobody(_exchange: Any) -> GatewayError | None:
    return Unauthenticated(headers=INVALID_TOKEN)
