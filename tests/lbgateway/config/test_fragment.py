"""Parts of a configuration from elsewhere."""

import pytest

from lbgateway.config import ConfigErrors
from lbgateway.config.fragment import Fragment, load_fragment, route_of, service_of


def errors_of(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load_fragment(text, "kv:routes")
    return [str(error) for error in caught.value.errors]


def test_a_fragment_has_routes_and_services():
    """With the place of each route, for messages."""
    fragment = load_fragment("services: {orders: {balancer: p2c}}\nroutes:\n  - {prefix: /a, service: orders}\n", "kv:routes")
    assert [(route.prefix, place) for route, place in zip(fragment.routes, fragment.places, strict=True)] == [("/a", "kv:routes:3")]
    assert fragment.services["orders"].balancer == "p2c"


@pytest.mark.parametrize("text", ["", "{}", "# nothing\n", "routes: []", "routes: []\nservices: {}"])
def test_nothing_is_a_fragment_too(text):
    """The built-in route is no part of it."""
    assert load_fragment(text, "kv:routes") == Fragment()


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("- a", ["kv:routes:1: the file must be a map, such as `server: {port: 8080}`"]),
        (
            "server: {port: 1}\nauth: {default: none}",
            [f"kv:routes:{n}: {key}: only `routes` and `services` can be set here" for n, key in ((1, "server"), (2, "auth"))],
        ),
        (
            "routes:\n  - {prefix: /a}",
            ["kv:routes:2: routes[0]: leads nowhere: give it `service`, `redirect`, or a prefix ending in /{service}"],
        ),
        (
            "routes:\n  - {prefix: /a, service: a}\n  - {prefix: /a, service: b}",
            ["kv:routes:3: routes[1]: matches the same requests as the route in line 2 (any host /a); neither is more specific"],
        ),
        ("services: {a: {balancer: maglev}}", ["kv:routes:1: services.a.balancer: `maglev` is not available in this version"]),
        ("services: {'*': {instances: ['a:1']}}", ["kv:routes:1: services.*.instances: instances belong to a service with a name"]),
        (
            "routes: [{service: a, prefix: '/${HOME:-x}'}]",
            [
                (
                    "kv:routes:1: routes[0].prefix: variables are for the file only: here they could tell the gateway's secrets; "
                    "write $${ for the text"
                )
            ],
        ),
    ],
)
def test_the_errors_are_those_of_a_file(text, errors):
    """Every one at once, with its line; and no variable tells what is in the gateway's environment."""
    assert errors_of(text) == errors


def test_the_file_decides_about_authentication():
    """A route that nobody can pass is disabled by itself, so here it is none of the errors."""
    assert load_fragment("routes: [{prefix: /a, service: a, auth: required}]", "kv:routes").routes[0].auth == "required"


def test_what_is_wrong_with_one_setting_leaves_the_others():
    """Each key stands for itself; where one is missing, those beside it cannot be used."""
    route, wrong = route_of({("prefix",): "/a", ("strip_prefix",): "maybe", ("methods",): ["get"]})
    assert (route.prefix, route.model_fields_set) == ("/a", {"prefix"})
    assert wrong == {("strip_prefix",): "must be true or false", ("methods",): "methods are written in capitals: GET"}
    service, wrong = service_of({("timeout", "response"): "2s", ("timeout", "idle"): "2", ("balancer",): "maglev"})
    assert (service.timeout.response, service.timeout.model_fields_set, service.balancer) == (2.0, {"response"}, "ewma")
    assert wrong == {
        ("balancer",): "`maglev` is not available in this version",
        ("timeout", "idle"): "a duration needs a unit: write 2s for seconds or 2ms for milliseconds",
    }


def test_an_error_beside_a_key_is_about_it():
    """A group that needs more than was said."""
    assert route_of({("redirect", "status"): 301})[1] == {("redirect", "status"): "redirect.to: is required"}
    assert route_of({}) == (route_of({})[0], {})
