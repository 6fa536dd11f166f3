"""Which patterns of origins go with credentials: a table of those that people write, and of those that hold."""

from __future__ import annotations

import re
import time

import hypothesis
import pytest
from hypothesis import strategies as st

from lbgateway.config.origin_rules import LONGEST_S, is_slow, stranger
from tests.lbgateway.config.reading import errors_of, settings_of

SOUND = [
    r"https://app\.example\.com",
    r"^https://app\.example\.com$",
    r"https://[a-z0-9-]+\.preview\.example",
    r"https://[a-z]+\.shop\.example|https://shop\.test",
    r"https://([a-z0-9-]+\.)?example\.com",
    r"https://([a-z0-9-]+\.)*example\.com(:\d+)?",
    r"https://(.*\.)?example\.com",
    r"https?://.*\.example\.co\.uk",
    r"https://(www|app)\.example\.(com|de)",
    r"https://[\w-]+--site\.netlify\.app",
    r"https://pr-[0-9]+-app\.example\.com",
    r"https://[a-z0-9-]+-app\.example\.com",
    r"https://[a-z0-9.-]+\.example\.com",
    r"https://.*[.]example[.]com",
    r"https://.*\.intern",
    r"http://localhost(:[0-9]+)?",
    r"http://(localhost|127\.0\.0\.1):\d+",
    r"http://192\.168\.\d+\.\d+",
    r"capacitor://localhost",
    r"(?i)https://app\.example\.com",
]
EVERYBODYS = [
    ".*",
    ".+",
    "(?s).*",
    "^.*$",
    "https?://.*",
    "https://.*",
    "http://.*",
    ".*://.*",
    r"https://[^/]+",
    r"https://[a-z0-9.-]+",
    r"https://[a-z0-9.-]+(:\d+)?",
    r"https://[\w.-]+:8443",
    r"https://.*\.com",
    r"https://[a-z]+\.(com|net)",
    r"https://[a-m][a-z0-9]*\.com",
    r"https://\w+\.\w+",
    r"https://\w+\.\w+\.\w+",
    r".*\.de",
    r"https?://\d+\.\d+\.\d+\.\d+",
    r"https://app\.example\.com|.*",
    # what people forget
    r"https://.*example\.com",
    r"https://.*.example.com",
    r"https://[a-z0-9-]+example\.com",
    r"https://[a-z-]*-?example\.com",
    r"https://.*example\.co\.uk",
    r".*example\.com.*",
    r"https://app\.example\.com.*",
    r"https://app\.example\.com\..+",
    "null",
    r"null|https://app\.example\.com",
    r"(https://app\.example\.com|null)",
]


@pytest.mark.parametrize("pattern", SOUND)
def test_a_pattern_that_names_its_domain_goes_with_credentials(pattern):
    """Whatever else it lets vary."""
    assert stranger(pattern) is None
    assert errors_of(f"auth: {{default: none}}\ncors: {{allow_credentials: true, allow_origin_regex: '{pattern}'}}") == []


@pytest.mark.parametrize("pattern", EVERYBODYS)
def test_a_pattern_that_matches_anybodys_origin_does_not(pattern):
    """As with "*", every page could act in its visitor's name. The error has its line, its key, and what to write."""
    found = stranger(pattern)
    assert found is not None
    assert re.fullmatch(pattern, found)
    [error] = errors_of(f"auth: {{default: none}}\ncors:\n  allow_credentials: true\n  allow_origin_regex: '{pattern}'")
    assert error.startswith(f"gw.yaml:4: cors.allow_origin_regex: allow_credentials with the pattern '{pattern}' would let pages")
    assert f": it matches {found}. Write your domain out, its dots escaped, and one of them between" in error
    assert errors_of(f"auth: {{default: none}}\ncors: {{allow_credentials: false, allow_origin_regex: '{pattern}'}}") == []


@pytest.mark.parametrize(
    "pattern",
    [
        r"https://([a-z0-9-]+\.?)+example\.com",
        r"https://(\w+)+\.example\.com",
        r"https://(\w|[a-z]{1,2})+\.example\.com",
        r"(.*)*://app\.example",
        r"https://([a-z]*)*\.example",
        r"https://(a|a)+\.example",
        r".*.*.*.*.*\.example",
    ],
)
@pytest.mark.parametrize("credentials", ["true", "false"])
def test_a_pattern_that_takes_very_long_for_some_origins_is_refused(pattern, credentials):
    """Any client could stop the gateway with one request. To find that out takes no time worth speaking of."""
    began_s = time.thread_time()
    [error] = errors_of(f"auth: {{default: none}}\ncors:\n  allow_origin_regex: '{pattern}'\n  allow_credentials: {credentials}")
    assert error.startswith("gw.yaml:3: cors.allow_origin_regex: takes so long for some origins")
    assert time.thread_time() - began_s < 2.0


@pytest.mark.parametrize("pattern", [*SOUND, *EVERYBODYS])
def test_other_patterns_do_not(pattern):
    """By far: a slow machine changes nothing."""
    began_s = time.thread_time()
    assert not is_slow(pattern)
    assert time.thread_time() - began_s < 5 * LONGEST_S


def test_the_same_pattern_has_the_same_answer():
    """A file that was fine yesterday is fine today."""
    assert {stranger(r"https://.*\.com") for _ in range(5)} == {stranger(r"https://.*\.com")}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (
            "cors: {allow_origin_regex: '.*'}\nroutes:\n  - prefix: /a\n    service: a\n    cors: {allow_credentials: true}",
            "gw.yaml:6: routes[0].cors: ",
        ),
        (
            "cors: {allow_credentials: true}\nroutes:\n  - prefix: /a\n    service: a\n    cors:\n      allow_origin_regex: '.*'",
            "gw.yaml:7: routes[0].cors.allow_origin_regex: ",
        ),
    ],
)
def test_what_a_route_adds_to_the_gateways_cors_counts(text, where):
    """Neither of the two alone is wrong; said where the second one is written."""
    [error] = errors_of(f"auth: {{default: none}}\n{text}")
    assert error.startswith(f"{where}allow_credentials with the pattern '.*'")


def test_a_route_may_take_the_credentials_away():
    """Then anybody may read what anybody may ask for."""
    settings = settings_of(
        r"""
        auth: {default: none}
        cors: {allow_credentials: true, allow_origins: ['https://a.example']}
        routes: [{prefix: /a, service: a, cors: {allow_credentials: false, allow_origin_regex: '.*'}}]
        """
    )
    assert settings.routes[0].cors is not None


LABELS = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)


@hypothesis.given(st.lists(LABELS, min_size=2, max_size=4), st.sampled_from(["https", "http", "https?"]))
def test_a_domain_written_out_is_always_fine_and_its_ending_alone_never(names, scheme):
    """Exactly, and for everything below it."""
    hypothesis.assume(names[-2:] != ["co", "uk"])
    domain, registered = (r"\.".join(part) for part in (names, names[-2:]))
    for pattern in (rf"{scheme}://{domain}", rf"{scheme}://([a-z0-9-]+\.)*{domain}", rf"{scheme}://.*\.{domain}"):
        assert stranger(pattern) is None
    for pattern in (rf"{scheme}://.*{registered}", rf"{scheme}://{domain}.*"):
        assert len(names[-1]) == 2 or stranger(pattern) is not None
