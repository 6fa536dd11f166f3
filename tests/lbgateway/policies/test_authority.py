"""What is remembered of answers, for how long, and who waits for them: an authority whose answers are the test's."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace
from typing import Any

import pytest

from lbgateway.errors import AuthUnavailable, Unauthenticated
from lbgateway.policies import authority as module
from lbgateway.policies.authority import MOST_ASKED, REFUSED_S, UNANSWERED_S, WAIT_S, Authority, AuthorityRules
from lbgateway.policies.identity import Identity
from lbgateway.policies.memory import digest_of
from lbgateway.policies.testimony import Fails, Holds, Silence
from lbgateway.policies.token import MAX_TOKEN_BYTES
from lbgateway.policies.wait import Flight, Wait

RULES = AuthorityRules(10.0, {"sub": "X-User-Id"}, subject_needed=False, missing="Send a session")
ANN = Holds({"sub": "ann"}, math.inf)


class Asked:
    """An authority of the test's own; `says` answers the oldest question."""

    def __init__(self, **rules: Any) -> None:
        self.counted: list[str] = []
        self.questions: list[Any] = []
        self.authority = Authority(lambda *question: self.questions.append(question), RULES._replace(**rules), self.counted.append)

    def says(self, testimony: Any) -> None:
        self.questions.pop(0)[1](testimony)

    def knows(self, credential: bytes, testimony: Any) -> None:
        assert isinstance(self.authority.identify(credential), Flight)
        self.says(testimony)


def left_s(asked: Asked, credential: bytes) -> float:
    """For how long a credential is believed yet."""
    return asked.authority.remembered[digest_of(credential)].until_s - time.monotonic()


def test_a_good_answer_is_an_identity():
    """One object for all requests, with the lines for services."""
    asked = Asked()
    asked.knows(b"sid", ANN)
    found = asked.authority.identify(b"sid")
    assert isinstance(found, Identity)
    assert (found.claims, found.lines) == ({"sub": "ann"}, b"X-User-Id: ann\r\n")
    assert asked.authority.identify(b"sid") is found
    assert (asked.questions, asked.counted) == ([], [])


@pytest.mark.parametrize(("for_s", "kept_s"), [(math.inf, 10.0), (3.0, 3.0), (60.0, 10.0)])
def test_it_is_believed_until_it_ends_or_its_time_is_up(for_s, kept_s):
    """Whatever comes first."""
    asked = Asked()
    asked.knows(b"sid", ANN._replace(for_s=for_s))
    assert left_s(asked, b"sid") == pytest.approx(kept_s, abs=0.5)


def test_what_is_over_is_asked_again():
    """Then the newest word counts: a revocation is noticed."""
    asked = Asked()
    asked.knows(b"sid", ANN)
    asked.authority.remembered[digest_of(b"sid")].until_s = 0.0
    asked.knows(b"sid", Fails("session"))
    refused = asked.authority.identify(b"sid")
    assert isinstance(refused, Unauthenticated)
    assert digest_of(b"sid") not in asked.authority.remembered


def test_one_question_for_all_who_wait():
    """And another one for another credential."""
    asked = Asked()
    first, again, other = (asked.authority.identify(credential) for credential in (b"sid", b"sid", b"other"))
    assert first is again is not other
    assert [question[0] for question in asked.questions] == [b"sid", b"other"]


def test_a_refusal_is_remembered_for_a_moment():
    """Whoever tries the same one again does not make us ask again; its reason is counted each time."""
    asked = Asked()
    asked.knows(b"sid", Fails("session"))
    for _ in range(3):
        refused = asked.authority.identify(b"sid")
        assert isinstance(refused, Unauthenticated)
        assert (refused.cause, refused.detail) == ("session", "The credentials are not valid")
    assert asked.counted == ["session"] * 3
    reason, until_s = asked.authority._refused[digest_of(b"sid")]
    assert until_s - time.monotonic() <= REFUSED_S
    asked.authority._refused.remember(digest_of(b"sid"), (reason, 0.0))
    assert isinstance(asked.authority.identify(b"sid"), Flight)


def test_silence_is_never_a_refusal():
    """The credential may be good. For a moment nobody is asked again."""
    asked = Asked()
    asked.knows(b"sid", Silence("refused"))
    unknown = asked.authority.identify(b"sid")
    assert isinstance(unknown, AuthUnavailable)
    assert (unknown.status, unknown.cause, asked.counted) == (503, "refused", ["unavailable"])
    assert asked.authority._unanswered[digest_of(b"sid")][1] - time.monotonic() <= UNANSWERED_S
    asked.authority._unanswered.remember(digest_of(b"sid"), ("refused", 0.0))
    asked.knows(b"sid", ANN)
    assert isinstance(asked.authority.identify(b"sid"), Identity)


def test_a_credential_of_nobody_is_none_where_it_stands_alone():
    """A cart of somebody who has not logged in is a session, too."""
    for claims, status in (({}, 401), ({"sub": ""}, 401), ({"sub": "ann"}, None)):
        asked = Asked(subject_needed=True)
        asked.knows(b"sid", Holds(claims, math.inf))
        assert getattr(asked.authority.identify(b"sid"), "status", None) == status


def test_questions_under_way_are_bounded():
    """Whoever invents credentials cannot have us ask without end."""
    asked = Asked()
    for number in range(MOST_ASKED):
        assert isinstance(asked.authority.identify(b"%d" % number), Flight)
    assert isinstance(asked.authority.identify(b"one more"), AuthUnavailable)
    asked.says(ANN)
    assert isinstance(asked.authority.identify(b"one more"), Flight)


def test_invented_credentials_push_out_no_good_ones():
    """Each kind of answer has a memory of its own, and each is bounded."""
    asked = Asked()
    asked.knows(b"sid", ANN)
    for number in range(module.REFUSED + 10):
        asked.knows(b"bad %d" % number, Fails("session"))
        asked.knows(b"lost %d" % number, Silence("away"))
    authority = asked.authority
    assert isinstance(authority.identify(b"sid"), Identity)
    assert (len(authority._refused), len(authority._unanswered), len(authority._flights)) == (module.REFUSED, module.UNANSWERED, 0)


def test_what_is_longer_than_any_token_is_not_asked_about():
    """As with tokens that are verified here; nobody else has to read it."""
    asked = Asked()
    refused = asked.authority.identify(b"x" * (MAX_TOKEN_BYTES + 1))
    assert (getattr(refused, "cause", None), asked.questions) == ("malformed", [])
    assert isinstance(asked.authority.identify(b"x" * MAX_TOKEN_BYTES), Flight)


def test_nothing_is_sent_without_a_credential():
    """The client is told what to send."""
    asked = Asked()
    refused = asked.authority.refusal("missing")
    assert (refused.detail, refused.headers) == ("Send a session", b'WWW-Authenticate: Bearer error="invalid_token"\r\n')


@pytest.mark.parametrize(
    ("one", "other", "status"),
    [("ann", "ann", None), ("ann", None, None), (None, "ann", None), ("ann", "bob", 401)],
)
def test_a_second_opinion_is_about_the_same_subject(one, other, status):
    """The token of one user does not go with the session of another."""
    asked, identity = Asked(), Identity({} if one is None else {"sub": one}, b"", math.inf)

    def again(_exchange):
        return asked.authority.confirm(identity, b"sid", again)

    wait = asked.authority.confirm(identity, b"sid", again)
    assert isinstance(wait, Wait)
    assert (wait.decide, wait.within_s, wait.late.status) == (again, WAIT_S, 503)
    asked.says(Holds({} if other is None else {"sub": other}, math.inf))
    assert getattr(wait.decide(SimpleNamespace()), "status", None) == status
    assert asked.counted == (["subject"] if status else [])
