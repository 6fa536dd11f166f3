"""What is given twice in other words."""

import pytest

from tests.lbgateway.config.reading import errors_of

TWICE = "names are compared without regard to case"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("services: {Orders: {}, orders: {slow_start: 3s}}", f"services.orders: is the same as `Orders`: {TWICE}"),
        (
            "discovery: {consul: {tag_prefixes: {Shop: [/a], shop: [/b]}}}",
            f"discovery.consul.tag_prefixes.shop: is the same as `Shop`: {TWICE}",
        ),
        ("routes: [{service: a, headers: {X-A: 1, x-a: 2}}]", f"routes[0].headers.x-a: is the same as `X-A`: {TWICE}"),
        (
            "routes: [{service: a, request_headers: {set: {X-A: 1, x-a: 2}}}]",
            f"routes[0].request_headers.set.x-a: is the same as `X-A`: {TWICE}",
        ),
        (
            "security_headers: {X-Frame-Options: DENY, x-frame-options: null}",
            f"security_headers.x-frame-options: is the same as `X-Frame-Options`: {TWICE}",
        ),
        ('services: {a: {instances: ["a:1", "a:2", "a:1"]}}', "services.a.instances[2]: has the id of item 0: a:1"),
        (
            'services: {a: {instances: [{address: "a:1", id: x}, {address: "a:2", id: x}]}}',
            "services.a.instances[1]: has the id of item 0: x",
        ),
    ],
)
def test_of_two_that_are_one_neither_is_lost_in_silence(text, sentence):
    """The second is told, where it is."""
    assert errors_of(f"auth: {{default: none}}\n{text}") == [f"gw.yaml:2: {sentence}"]


def test_services_may_have_instances_with_the_same_address():
    """And a header may be added twice, in whatever spelling."""
    text = """
        auth: {default: none}
        discovery: {provider: static}
        services: {a: {instances: ["a:1"]}, b: {instances: ["a:1"]}}
        routes: [{service: a, response_headers: {add: {X-A: 1, x-a: 2}}}]
    """
    assert errors_of(text) == []
