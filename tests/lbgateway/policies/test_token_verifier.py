"""Whose token is believed, for how long, and what becomes of it: tables."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from lbgateway.authentication import token_rules
from lbgateway.errors import INVALID_TOKEN, GatewayError
from lbgateway.policies.identity import Identity
from lbgateway.policies.keys import Key
from lbgateway.policies.memory import digest_of
from lbgateway.policies.token_verifier import REFUSED_TOKENS, REMEMBERED_TOKENS, TokenVerifier
from lbgateway.policies.wait import Flight
from tests.lbgateway.config.reading import settings_of
from tests.support.tokens import OTHER, SECRET, forged, pem_of, private_key, token

NOW = int(time.time())
HEAD = {"alg": "HS256"}
RS_KEYS = {which: private_key("RS256", which) for which in "abc"}


class Published:
    """A source of keys in the test's hands."""

    def __init__(self, *which: str, fresh: bool = True) -> None:
        self.keys = tuple(Key(name, frozenset(("RS256",)), RS_KEYS[name].public_key()) for name in which)
        self.fresh = fresh
        self.withdrawn: tuple[str, ...] = ()
        self.read_at_s = float("-inf")
        self.flight: Flight | None = None
        self.next_one: Flight | None = None
        self.asked = 0

    def refetch(self) -> Flight | None:
        self.asked += 1
        return self.flight

    def next_fetch(self) -> Flight | None:
        return self.next_one

    def again_in_s(self) -> float:
        return 7.5


def verifier(
    text: str = f"secret: {SECRET!r}", *, source: Any = None, around: str = "", count: Callable[[str], None] = lambda _reason: None
) -> TokenVerifier:
    return TokenVerifier(token_rules(settings_of(f"auth: {{jwt: {{{text}}}{around}}}").auth), count, source)


def published(*which: str, fresh: bool = True) -> tuple[TokenVerifier, Published]:
    source = Published(*which, fresh=fresh)
    return verifier("jwks_url: http://127.0.0.1/jwks, algorithms: [RS256]", source=source), source


def by(which: str, **claims: Any) -> bytes:
    return token("RS256", RS_KEYS[which], kid=which, **claims).encode()


@pytest.mark.parametrize(
    ("raw", "text", "reason"),
    [
        (token(), "", None),
        (token(exp=NOW - 10), "leeway: 1h", None),
        (token(exp=NOW - 10), "leeway: 0s", "expired"),
        (token(exp=NOW - 7200), "leeway: 1h", "expired"),
        (token(exp=None), "", "claims"),
        (token(exp=None), "required_claims: []", None),
        (token(exp=str(NOW + 60)), "required_claims: []", "claims"),
        (token(nbf=NOW + 3600), "", "not_yet_valid"),
        (token(key=OTHER), "", "signature"),
        (token("HS512"), "", "algorithm"),
        (token("HS512"), "algorithms: [HS256, HS512]", None),
        (token("RS256"), "", "algorithm"),
        (forged({"alg": "none"}, {"sub": "ann"}), "", "algorithm"),
        (forged({**HEAD, "crit": ["x"]}, {"sub": "ann"}), "", "critical"),
        (forged(HEAD, {"sub": "ann", "exp": NOW + 60}, ""), "", "signature"),
        (token(iss="them"), "issuer: us", "issuer"),
        (token(iss="us"), "issuer: us", None),
        (token(aud="them"), "audience: us", "audience"),
        (token(aud=["us", "them"]), "audience: us", None),
        (token(aud="them"), "", None),
        (token(sub=None), "required_claims: [exp, sub]", "claims"),
        ("not.a.token", "", "malformed"),
        ("", "", "malformed"),
    ],
)
def test_which_tokens_are_believed(raw, text, reason):
    """The configuration decides, and nothing that the token says of itself; a failure is counted by its kind."""
    counted: Counter[str] = Counter()
    judge = verifier(f"secret: {SECRET!r}" + (f", {text}" if text else ""), count=lambda kind: counted.update([kind]))
    found = judge.identify(raw.encode())
    assert counted == ({} if reason is None else {reason: 1})
    if isinstance(found, GatewayError):
        assert (found.status, found.headers, found.cause) == (401, INVALID_TOKEN, reason)
        assert str(NOW)[:6] not in found.detail
    else:
        assert isinstance(found, Identity)
        assert reason is None


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_key_of_the_configuration_needs_no_name(algorithm):
    """Whatever ``kid`` the token has: there is one key."""
    indented = pem_of(private_key(algorithm)).replace("\n", "\\n")
    judge = verifier(f'public_key: "{indented}", algorithms: [{algorithm}]')
    for kid in (None, "whatever"):
        assert isinstance(judge.identify(token(algorithm, kid=kid).encode()), Identity)
    assert isinstance(judge.identify(token(algorithm, private_key(algorithm, "b")).encode()), GatewayError)


def test_the_public_half_is_no_shared_secret():
    """A token "signed" with what everybody knows (RFC 8725, 2.1), also where secrets are allowed beside keys."""
    pem = pem_of(private_key("RS256"))
    inline = pem.replace("\n", "\\n")
    judge = verifier(f'public_key: "{inline}", secret: {SECRET!r}, algorithms: [RS256, HS256]')
    for known in (pem, pem.strip(), pem.replace("\n", "")):
        assert isinstance(judge.identify(forged(HEAD, {"sub": "mallory", "exp": NOW + 60}, known).encode()), GatewayError)
    assert isinstance(judge.identify(token().encode()), Identity)
    assert isinstance(judge.identify(token("RS256").encode()), Identity)


def test_a_token_is_verified_once():
    """The second time costs a lookup: not even the keys are looked at."""
    judge, source = published("a")
    raw = by("a")
    first = judge.identify(raw)
    source.keys = ()
    assert judge.identify(raw) is first
    assert list(judge.remembered) == [digest_of(raw)]


def test_a_remembered_token_is_verified_anew_when_it_expires():
    """Its end is its own, or a minute where it names none."""
    judge = verifier(f"secret: {SECRET!r}, required_claims: [], leeway: 10s")
    now = int(time.time())
    for raw, left_s in ((token(exp=now + 30), now + 40 - time.time()), (token(exp=None), 60.0)):
        identity = judge.identify(raw.encode())
        assert isinstance(identity, Identity)
        assert identity.until_s - time.monotonic() == pytest.approx(left_s, abs=2)
        identity.until_s = time.monotonic()
        assert judge.identify(raw.encode()) is not identity


def test_bad_tokens_do_not_push_out_good_ones():
    """However many there are; and their memory is bounded as well."""
    judge = verifier()
    good = token().encode()
    first = judge.identify(good)
    for number in range(REFUSED_TOKENS + 50):
        assert isinstance(judge.identify(forged(HEAD, {"n": number}, OTHER).encode()), GatewayError)
    assert (len(judge.remembered), len(judge._refused)) == (1, REFUSED_TOKENS)
    assert judge.identify(good) is first


def test_memory_of_good_tokens_is_bounded():
    """Whoever has many valid tokens pushes out others, not the process."""
    judge = verifier()
    first = token(jti="0").encode()
    judge.identify(first)
    for number in range(REMEMBERED_TOKENS - 1):
        judge.remembered.remember(b"%d" % number, Identity({}, b"", 0.0))
    judge.identify(token(jti="1").encode())
    assert (len(judge.remembered), digest_of(first) in judge.remembered) == (REMEMBERED_TOKENS, False)


@pytest.mark.parametrize(
    ("raw", "remembered"),
    [
        (token(key=OTHER), True),
        (token(exp=NOW - 3600), True),
        (token(iss="them"), True),
        (token(nbf=NOW + 3600), False),
        ("not.a.token", False),
    ],
)
def test_what_was_expensive_to_find_out_is_remembered(raw, remembered):
    """For a minute; but never what time may change."""
    judge = verifier(f"secret: {SECRET!r}, issuer: us")
    before = judge.identify(raw.encode())
    assert (digest_of(raw.encode()) in judge._refused) is remembered
    after = judge.identify(raw.encode())
    assert isinstance(before, GatewayError)
    assert isinstance(after, GatewayError)
    assert (after.cause, after.status) == (before.cause, 401)


# -- published keys --------------------------------------------------------------------------------


def test_a_key_that_is_not_known_waits_for_the_keys():
    """When they have come, the same token is judged again."""
    judge, source = published("a")
    source.flight = Flight()
    raw = by("b")
    assert judge.identify(raw) is source.flight
    source.keys = Published("a", "b").keys
    assert isinstance(judge.identify(raw), Identity)
    assert source.asked == 1


@pytest.mark.parametrize(("fresh", "status", "reason"), [(True, 401, "unknown_key"), (False, 503, "unavailable")])
def test_a_key_that_will_not_come_soon(fresh, status, reason):
    """401 if the source says that there is none; 503 if it says nothing: the token may be good."""
    counted: Counter[str] = Counter()
    source = Published("a", fresh=fresh)
    source.read_at_s = time.monotonic() + 1  # since the token came
    judge = verifier("jwks_url: http://127.0.0.1/jwks, algorithms: [RS256]", source=source, count=lambda kind: counted.update([kind]))
    found = judge.identify(by("b"))
    assert isinstance(found, GatewayError)
    assert (found.status, counted) == (status, {reason: 1})
    assert isinstance(judge.identify(by("a")), Identity)


def test_keys_are_fetched_for_one_token_more_and_more_seldom():
    """A client that shows one again and again leaves the fetches to others, also when keys change meanwhile."""
    judge, source = published("a")
    assert judge._search is not None
    raw, moment_s = by("b"), time.monotonic()
    source.flight = Flight()
    pauses_s = []
    for _ in range(7):
        assert judge.identify(raw, moment_s) is source.flight
        source.read_at_s = moment_s
        assert getattr(judge.identify(raw, moment_s), "cause", None) == "unknown_key"
        pauses_s.append(judge._search._sought[digest_of(raw)].until_s - moment_s)
        judge.forget(all_tokens=False)
        moment_s += pauses_s[-1] - 0.001
        assert getattr(judge.identify(raw, moment_s), "cause", None) == "unknown_key"
        assert judge.identify(by("b", jti=str(len(pauses_s))), moment_s) is source.flight
        moment_s += 0.002
    assert pauses_s == [pytest.approx(pause) for pause in (10, 20, 40, 80, 160, 300, 300)]
    source.keys = Published("a", "b").keys
    assert isinstance(judge.identify(raw), Identity)


def test_who_was_sought_in_vain_may_be_good_once_the_source_is_away():
    """The key may have been published since; before, it was 401, and a client would throw the token away."""
    judge, source = published("a")
    raw = by("b")
    source.read_at_s = time.monotonic() + 1  # since the token came
    assert getattr(judge.identify(raw), "status", None) == 401
    source.read_at_s, source.fresh = time.monotonic() - 1, False
    assert getattr(judge.identify(raw), "status", None) == 503


def test_a_wrong_signature_by_a_known_key_asks_nobody():
    """Otherwise anybody could have the keys fetched without end."""
    judge, source = published("a")
    forged_token = token("RS256", RS_KEYS["b"], kid="a").encode()
    found = judge.identify(forged_token)
    assert isinstance(found, GatewayError)
    assert (found.cause, source.asked) == ("signature", 0)


def test_a_token_without_the_name_of_its_key():
    """All keys are tried; if none fits there may be a new one."""
    judge, source = published("a", "b")
    nameless = {which: token("RS256", RS_KEYS[which]).encode() for which in "abc"}
    assert isinstance(judge.identify(nameless["b"]), Identity)
    source.flight = Flight()
    assert judge.identify(nameless["c"]) is source.flight


def test_a_secret_beside_published_keys_is_no_reason_to_fetch():
    """No new public key makes an HMAC right."""
    source = Published("a")
    judge = verifier(f"jwks_url: http://127.0.0.1/jwks, algorithms: [RS256, HS256], secret: {SECRET!r}", source=source)
    found = judge.identify(token(key=OTHER).encode())
    assert isinstance(found, GatewayError)
    assert (found.cause, source.asked) == ("signature", 0)
    assert isinstance(judge.identify(token().encode()), Identity)


@pytest.mark.parametrize("all_tokens", [False, True])
def test_new_keys_end_old_refusals_and_a_key_taken_away_ends_its_tokens(all_tokens):
    """A provider that withdraws a key means it."""
    judge, source = published("a")
    good, bad = by("a"), token("RS256", RS_KEYS["b"], kid="a").encode()
    judge.identify(good)
    judge.identify(bad)
    source.keys = ()
    judge.forget(all_tokens=all_tokens)
    assert digest_of(bad) not in judge._refused
    assert isinstance(judge.identify(good), GatewayError if all_tokens else Identity)


def test_claims_become_headers_for_the_services():
    """Those that the configuration names, under the names that it gives."""
    judge = verifier(around=", forward_claims: {scope: null, tenant: X-Tenant}")
    identity = judge.identify(token(scope="a b", tenant="north").encode())
    assert isinstance(identity, Identity)
    assert identity.lines == b"X-User-Id: ann\r\nX-Tenant: north\r\n"
    assert identity.scopes == {"a", "b"}


claims = st.dictionaries(
    st.sampled_from(["exp", "nbf", "iat", "sub", "aud", "iss", "scope"]),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)),
)


@hypothesis.given(claims)
def test_whatever_a_signed_token_claims_there_is_an_answer(body: dict[str, Any]):
    """An identity with clean lines, or 401."""
    found = verifier(f"secret: {SECRET!r}, required_claims: []").identify(forged(HEAD, body).encode())
    if isinstance(found, Identity):
        assert found.until_s > time.monotonic() - 1
        assert found.lines.count(b"\n") == found.lines.count(b": ") <= 2
    else:
        assert isinstance(found, GatewayError)
        assert found.status == 401
