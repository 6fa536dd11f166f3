"""What limits can have wrong between them."""

from tests.lbgateway.config.reading import errors_of, settings_of

OPEN = "auth: {default: none}\n"
ONE = OPEN + "services: {a: {instances: [h:1]}}\n"
STATIC = ONE + "discovery: {provider: static}\n"


def test_a_limit_without_a_number_is_found_where_it_stands():
    """On a route, and in the default."""
    assert errors_of(ONE + "routes:\n- {prefix: /a, service: a, rate_limit: {per: 1s}}\n") == [
        "gw.yaml:4: routes[0].rate_limit: needs `requests`: so many per `per`"
    ]
    assert errors_of(OPEN + "rate_limit: {default: {per: 1s}}\n") == ["gw.yaml:2: rate_limit.default: needs `requests`: so many per `per`"]


def test_a_limit_by_subject_where_nobody_has_one_is_warned_of():
    """It still limits, by address; the warning is where the limit is, or at the route that takes over the default."""
    own = STATIC + "routes:\n- {prefix: /a, service: a, rate_limit: {requests: 5, key: subject}}\n"
    [warning] = settings_of(own).warnings
    assert warning.startswith("gw.yaml:5: routes[0].rate_limit: counts by subject, which nobody proves where auth is none")

    default = STATIC + "rate_limit: {default: {requests: 5, key: 'claim:tenant'}}\nroutes:\n- {prefix: /a, service: a}\n"
    [warning] = settings_of(default).warnings
    assert warning.startswith("gw.yaml:6: routes[0]: counts by claim:tenant")
