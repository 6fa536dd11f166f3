"""CORS, cache, compression, OAuth, SPA: known to the schema before they are built."""

import pytest

from lbgateway.config.edge import CacheSettings, CompressionSettings, CorsSettings, OauthSettings, SpaSettings
from tests.lbgateway.config.reading import errors_of, settings_of


def test_all_keys_of_the_contract_are_known():
    """What is only not built is never called unknown."""
    assert set(CorsSettings.model_fields) == {
        "allow_origins", "allow_origin_regex", "allow_methods", "allow_headers", "allow_credentials", "expose_headers", "max_age",
    }  # fmt: skip
    assert set(CacheSettings.model_fields) == {"store", "max_size"}
    assert set(CompressionSettings.model_fields) == {"min_size", "types", "algorithms"}
    assert set(OauthSettings.model_fields) == {"prefix", "service"}
    assert set(SpaSettings.model_fields) == {"directory", "index"}


def test_values_are_read():
    """The contract's own examples."""
    assert CorsSettings.model_validate({"allow_origins": ["https://app.example"], "max_age": "10m"}).max_age == 600.0
    assert CacheSettings.model_validate({"max_size": "64MiB"}).max_size == 64 * 2**20
    assert CompressionSettings.model_validate({"min_size": "1KiB"}).algorithms == ("zstd", "br", "gzip")
    assert OauthSettings.model_validate({"service": "auth"}).prefix == "/oauth"
    assert SpaSettings.model_validate({"directory": "."}).index == "index.html"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cors: {allow_origins: ['https://app.example/']}", "cors.allow_origins[0]: must be * or an origin as browsers send it"),
        ("cors: {allow_origins: [app.example]}", "cors.allow_origins[0]: must be * or an origin as browsers send it"),
        ("cors: {allow_origins: ['https://App.example']}", "cors.allow_origins[0]: must be * or an origin as browsers send it"),
        ("cors: {allow_origin_regex: '('}", "cors.allow_origin_regex: is no regular expression"),
        ("cors: {allow_origins: ['*'], allow_credentials: true}", 'cors: allow_credentials with allow_origins: ["*"] would let every page'),
        (
            "cors: {allow_credentials: true, allow_origins: ['https://a.example']}\nroutes: [{service: a, cors: {allow_origins: ['*']}}]",
            'routes[0].cors: allow_credentials with allow_origins: ["*"] would let every page',
        ),
        ('security_headers: {X-Frame-Options: "a\\nb"}', "security_headers.X-Frame-Options: "),
        ("security_headers: {'X Frame': a}", "security_headers.X Frame: "),
        ("cors: {allow_origin: []}", "cors.allow_origin: unknown key; did you mean `allow_origins`?"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, told):
    """With the key, and what to write instead."""
    [error] = errors_of(f"auth: {{default: none}}\n{text}")

    assert told in error


def test_a_route_lays_its_cors_over_the_gateways():
    """Key by key; null and false switch it off; a route that says nothing has the gateway's."""
    settings = settings_of("""
        auth: {default: none}
        cors: {allow_origins: ['https://a.example'], max_age: 5s}
        routes:
          - {prefix: /a, service: a}
          - {prefix: /b, service: a, cors: {max_age: 9s}}
          - {prefix: /c, service: a, cors: null}
          - {prefix: /d, service: a, cors: false}
    """)
    found = [settings.route_cors(route) for route in settings.routes]

    assert [cors and (cors.allow_origins, cors.max_age) for cors in found] == [
        (("https://a.example",), 5.0),
        (("https://a.example",), 9.0),
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", True), ("security_headers:", True), ("security_headers: true", True), ("security_headers: {}", True),
        ("security_headers: false", False), ("security_headers: 'no'", False),
        ("security_headers: {Referrer-Policy: null}", {"Referrer-Policy": None}),
    ],
)  # fmt: skip
def test_security_headers_are_on_off_or_a_map(text, value):
    """On unless said otherwise, and shown as they may be written."""
    settings = settings_of(f"auth: {{default: none}}\n{text}")

    assert settings.masked()["security_headers"] == value
    assert (settings.security_headers is None) is (value is False)
