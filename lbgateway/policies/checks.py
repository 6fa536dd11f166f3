"""Who is asked about the credentials of a request, and in which order: the token, what is known about it, the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lbgateway.policies.identity import Identity, agree
from lbgateway.policies.token import InvalidToken

if TYPE_CHECKING:
    from collections.abc import Callable

    from lbgateway.errors import GatewayError
    from lbgateway.policies.authority import Authority
    from lbgateway.policies.introspection import TokenConfirmed
    from lbgateway.policies.jwt_auth import JwtAuth
    from lbgateway.policies.session_auth import SessionAuth
    from lbgateway.policies.wait import Flight, Wait

    Policy = Callable[[Any], GatewayError | Wait | None]


class Checks:
    """Whatever is configured must hold: `token` first, then what confirms it. A session may also stand alone."""

    __slots__ = ("confirmation", "session", "token")

    def __init__(self, token: JwtAuth | None, confirmation: TokenConfirmed | None = None, session: SessionAuth | None = None) -> None:
        assert token is not None or (session is not None and confirmation is None)
        self.token = token
        self.confirmation = confirmation
        self.session = session

    def policies(self, *, optional: bool) -> tuple[Policy, ...]:
        """For a route, in their order."""
        first = self.token or self.session
        assert first is not None
        others = [self.confirmation, self.session if self.token is not None else None]
        return (first.optional if optional else first.required, *(each.confirm for each in others if each is not None))

    @property
    def knows_tokens(self) -> bool:
        """`identify` can be asked. A cookie opens no operators' door: any page can make a browser send it."""
        return self.token is not None

    def identify(self, token: bytes, came_at_s: float | None = None) -> Identity | GatewayError | Flight:
        """Whose a token is where there is no route: at the operators' door. The same things must hold.

        `came_at_s`: when it was first shown, of the monotonic clock; now where it is not said.
        """
        assert self.token is not None
        found = self.token.verifier.identify(token, came_at_s)
        if isinstance(found, Identity) and self.confirmation is not None:
            found = _confirmed(found, self.confirmation.authority, token)
        if isinstance(found, Identity) and self.session is not None:
            authority = self.session.authority
            try:
                named = self.session.named_by(found)
            except InvalidToken as error:
                return authority.refusal(error.reason)
            return authority.refusal("missing") if named is None else _confirmed(found, authority, named)
        return found


def _confirmed(identity: Identity, authority: Authority, credential: bytes) -> Identity | GatewayError | Flight:
    second = authority.identify(credential)
    if not isinstance(second, Identity):
        return second
    return identity if agree(identity, second) else authority.refusal("subject")
