"""A second opinion on tokens that are genuine."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any

import pytest

from lbgateway.errors import GatewayError
from lbgateway.policies.identity import Identity
from lbgateway.policies.introspection import TokenConfirmed
from lbgateway.policies.testimony import Fails, Holds, Silence
from lbgateway.policies.wait import Wait
from tests.lbgateway.policies.test_authority import Asked


def exchange(authorization: bytes | None = b"Bearer tok", cookie: bytes = b"", identity: Identity | None = None) -> Any:
    lines = [b"", b"Cookie", b": ", cookie, b"\r\n"] if cookie else [b""]
    return SimpleNamespace(head=SimpleNamespace(authorization=authorization, lines=lines), identity=identity, started_s=time.monotonic())


@pytest.mark.parametrize(
    ("testimony", "status", "reason"),
    [
        (Holds({"sub": "ann"}, math.inf), None, None),
        (Holds({}, math.inf), None, None),
        (Holds({"sub": "bob"}, math.inf), 401, "subject"),
        (Fails("inactive"), 401, "inactive"),
        (Silence("away"), 503, "unavailable"),
    ],
)
@pytest.mark.parametrize("given", [{}, {"authorization": None, "cookie": b"access=tok"}])
def test_the_token_must_still_hold(testimony, status, reason, given):
    """The same token that was verified, from wherever it came; asked once, for the next request as well."""
    asked = Asked()
    policy = TokenConfirmed(asked.authority, b"access" if given else None)
    for number in range(2):
        made = exchange(identity=Identity({"sub": "ann"}, b"", math.inf), **given)
        found = policy.confirm(made)
        if number == 0:
            assert isinstance(found, Wait)
            assert asked.questions[0][0] == b"tok"
            asked.says(testimony)
            found = found.decide(made)
        assert (found.status if isinstance(found, GatewayError) else found) == status
        assert made.identity.claims == {"sub": "ann"}
    assert set(asked.counted) == ({reason} if reason else set())


def test_where_nobody_had_to_show_a_token_nobody_is_asked():
    """Public paths, OPTIONS, `auth: optional` without one."""
    asked = Asked()
    assert TokenConfirmed(asked.authority).confirm(exchange()) is None
    assert asked.questions == []
