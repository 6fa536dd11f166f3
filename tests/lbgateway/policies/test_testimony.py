"""What stores and services say, read into yes, no, and nothing: tables."""

from __future__ import annotations

import json
import math

import hypothesis
import pytest
from hypothesis import strategies as st

from lbgateway.policies.testimony import MAX_BYTES, MAX_TEXT, Fails, Holds, Silence, of_answer, of_stored

NOW_S = 1_000_000.0
ANN = {"sub": "ann", "scope": "a b"}


def stored(value, for_s: float = math.inf):
    return of_stored(value if isinstance(value, bytes) else json.dumps(value).encode(), for_s, NOW_S)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (ANN, Holds(ANN, math.inf)),
        ({"sub": 42}, Holds({"sub": "42"}, math.inf)),
        ({**ANN, "exp": NOW_S + 5}, Holds({**ANN, "exp": NOW_S + 5}, 5.0)),
        ({**ANN, "active": True}, Holds({**ANN, "active": True}, math.inf)),
        ({}, Holds({}, math.inf)),
        # there, but nothing that claims could be read from
        (b"pickled", Holds({}, math.inf)),
        (b"1", Holds({}, math.inf)),
        ([1], Holds({}, math.inf)),
        (b"[" * 60_000, Holds({}, math.inf)),
        # not there, or over
        (b"", Fails("session")),
        (b"x" * (MAX_BYTES + 1), Fails("session")),
        ({**ANN, "active": False}, Fails("session")),
        ({**ANN, "active": "true"}, Fails("session")),
        ({**ANN, "active": 1}, Fails("session")),
        ({**ANN, "active": None}, Fails("session")),
        ({**ANN, "exp": NOW_S}, Fails("expired")),
        ({**ANN, "exp": 0}, Fails("expired")),
        # what different readers would take for different things
        ({**ANN, "exp": str(NOW_S + 5)}, Fails("claims")),
        ({**ANN, "exp": True}, Fails("claims")),
        ({**ANN, "exp": 1e300}, Fails("claims")),
        ({**ANN, "sub": True}, Fails("claims")),
        ({**ANN, "sub": ["ann"]}, Fails("claims")),
        (b'{"sub": "ann", "exp": Infinity}', Fails("claims")),
        (b'{"sub": "ann", "exp": NaN}', Fails("claims")),
    ],
)
def test_what_is_stored_is_a_session_or_none(value, found):
    """As applications write it."""
    assert stored(value) == found


@pytest.mark.parametrize(("left_s", "exp", "for_s"), [(3.0, NOW_S + 5, 3.0), (9.0, NOW_S + 5, 5.0), (math.inf, NOW_S + 5, 5.0)])
def test_the_earlier_end_counts(left_s, exp, for_s):
    """The store's, or the session's own."""
    assert stored({"sub": "ann", "exp": exp}, left_s).for_s == for_s


def test_a_session_that_ends_now_is_over():
    """Redis may say so a moment before it forgets it."""
    assert stored(ANN, 0.0) == Fails("expired")


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, {"active": True, **ANN}, Holds({"active": True, **ANN}, math.inf)),
        (200, ANN, Holds(ANN, math.inf)),
        (200, b"", Holds({}, math.inf)),
        (200, b"fine", Holds({}, math.inf)),
        (204, b"", Holds({}, math.inf)),
        (200, {"active": False}, Fails("no")),
        (200, {"active": "yes"}, Fails("no")),
        (200, {"active": True, "exp": NOW_S - 1}, Fails("expired")),
        (401, ANN, Fails("no")),
        (403, b"", Fails("no")),
        (400, b"", Fails("no")),
        (422, b"", Fails("no")),
        (404, b"", Silence("the answer has the status 404")),
        (302, b"", Silence("the answer has the status 302")),
        (429, b"", Silence("the answer has the status 429")),
        (500, b"", Silence("the answer has the status 500")),
        (503, {"active": True}, Silence("the answer has the status 503")),
        (206, {"active": True}, Silence("the answer has the status 206")),
        (200, b"x" * (MAX_BYTES + 1), Silence("the answer is larger than 64 KiB")),
    ],
)
def test_an_answer_is_yes_or_no_or_none(status, body, found):
    """By RFC 7662, or by the status alone."""
    assert of_answer(status, body if isinstance(body, bytes) else json.dumps(body).encode(), "no", NOW_S) == found


def test_claims_that_would_fill_the_memory_are_left_out():
    """Ten thousand of them are kept."""
    claims = {**ANN, "big": "x" * (MAX_TEXT + 1), "map": {"a": 1}, "many": list(range(101)), "few": [1, "a"], "deep": [[1]], "none": None}
    assert stored(claims).claims == {**ANN, "few": [1, "a"]}


@hypothesis.given(st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.sampled_from(["sub", "exp", "active", "scope"]), inner, max_size=4) | st.lists(inner, max_size=2),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_is_said_is_understood_or_refused(body):
    """Never an exception; what holds has time left and a subject that is a text."""
    for found in (of_stored(body, math.inf, NOW_S), of_answer(200, body, "no", NOW_S)):
        if isinstance(found, Holds):
            assert found.for_s > 0
            assert isinstance(found.claims.get("sub", ""), str)
