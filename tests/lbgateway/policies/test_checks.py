"""Which checks a route meets, in which order, and the same ones at the operators' door."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lbgateway.errors import GatewayError
from lbgateway.policies.checks import Checks
from lbgateway.policies.identity import Identity
from lbgateway.policies.introspection import TokenConfirmed
from lbgateway.policies.session_auth import SessionAuth
from lbgateway.policies.testimony import Fails, Holds, Silence
from lbgateway.policies.wait import Flight
from tests.lbgateway.policies.test_authority import Asked
from tests.support.tokens import auth_of, token

JWT = auth_of()


def made(*, session: bool = False, confirmed: bool = False, jwt: bool = True) -> tuple[Checks, Asked, Asked]:
    sessions, tokens = Asked(), Asked()
    return (
        Checks(
            JWT if jwt else None,
            TokenConfirmed(tokens.authority) if confirmed else None,
            SessionAuth(sessions.authority, b"sid", "sid") if session else None,
        ),
        sessions,
        tokens,
    )


def test_the_token_comes_first_then_what_confirms_it_then_the_session():
    """The contract's order; only what is configured."""
    checks, _, _ = made(session=True, confirmed=True)
    assert checks.confirmation is not None
    assert checks.session is not None
    assert checks.policies(optional=False) == (JWT.required, checks.confirmation.confirm, checks.session.confirm)
    assert checks.policies(optional=True)[0] == JWT.optional
    alone, _, _ = made()
    assert alone.policies(optional=False) == (JWT.required,)


def test_a_session_may_stand_alone():
    """But it opens no operators' door: any page can make a browser send its cookie."""
    checks, _, _ = made(session=True, jwt=False)
    assert checks.session is not None
    assert checks.policies(optional=False) == (checks.session.required,)
    assert checks.policies(optional=True) == (checks.session.optional,)
    assert not checks.knows_tokens
    assert made()[0].knows_tokens


@pytest.mark.parametrize(
    ("claims", "session", "confirmed", "outcome"),
    [
        ({"sid": "a"}, Holds({"sub": "ann"}, math.inf), Holds({}, math.inf), None),
        ({"sid": "a"}, Fails("session"), Holds({}, math.inf), 401),
        ({"sid": "a"}, Holds({"sub": "bob"}, math.inf), Holds({}, math.inf), 401),
        ({"sid": "a"}, Silence("away"), Holds({}, math.inf), 503),
        ({"sid": "a"}, Holds({}, math.inf), Fails("inactive"), 401),
        ({"sid": "a"}, Holds({}, math.inf), Silence("away"), 503),
        ({}, Holds({}, math.inf), Holds({}, math.inf), 401),
        ({"sid": "a:b"}, Holds({}, math.inf), Holds({}, math.inf), 401),
        ({"sid": 7}, Holds({}, math.inf), Holds({}, math.inf), 401),
        ({"sid": "a", "exp": 1}, Holds({}, math.inf), Holds({}, math.inf), 401),
    ],
)
def test_at_the_operators_door_the_same_things_must_hold(claims: dict[str, Any], session, confirmed, outcome):
    """A token that was revoked opens it no more."""
    checks, sessions, tokens = made(session=True, confirmed=True)
    raw = token(**claims).encode()
    found = checks.identify(raw)
    for asked, testimony in ((tokens, confirmed), (sessions, session)):
        if isinstance(found, Flight):
            asked.says(testimony)
            found = checks.identify(raw)
    assert isinstance(found, GatewayError if outcome else Identity)
    assert getattr(found, "status", None) == outcome
