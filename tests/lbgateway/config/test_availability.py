"""Row by row: what is refused, and what says that the feature is off."""

import pytest

from lbgateway.config.availability import ROWS, Given, offered, unavailable, without_off
from tests.lbgateway.config.reading import errors_of, settings_of

SOME = {"any": "thing"}
OFF = (None, False, [], "off")

EXAMPLES: dict[str, tuple[tuple[object, ...], tuple[object, ...]]] = {
    "discovery.consul.failover_datacenters": ((["dc2"],), OFF),
    "discovery.consul.feedback": ((SOME, {}), OFF),
    "services.*.balancer": (
        ("ring_hash", "maglev", "rendezvous", "prequal"),
        ("round_robin", "weighted", "least_connections", "random", "p2c", "ewma", "peak_ewma"),
    ),
    "services.*.hash_on": (("client",), OFF),
    "services.*.sticky": ((SOME, {}), OFF),
    "services.*.zone_aware": ((True,), OFF),
    "services.*.probe_path": (("/probe",), OFF),
    "services.*.subsets": (([SOME],), OFF),
    "services.*.tiers": (([SOME],), OFF),
    "services.*.mirror": ((SOME, {}), OFF),
    "routes[].cache": ((SOME, {}), OFF),
    "cache": ((SOME, {}), OFF),
    "compression": ((SOME, {}), OFF),
    "plugins": ((["package.module:Class"],), OFF),
}
"""By path: values that are refused, values that are accepted."""


def document(pattern: str, value: object) -> dict[str, object]:
    """The smallest document with `value` at a row's path."""
    root: object = value
    for step in reversed(pattern.replace("[]", ".[]").replace("*", "orders").split(".")):
        root = [root] if step == "[]" else {step: root}
    assert isinstance(root, dict)
    return root


def test_each_row_has_its_examples_and_stands_once():
    """A row that leaves the table takes its examples along."""
    assert [pattern for pattern, _ in ROWS] == list(EXAMPLES)


@pytest.mark.parametrize(("pattern", "value"), [(pattern, value) for pattern, (refused, _) in EXAMPLES.items() for value in refused])
def test_what_is_not_built_is_refused(pattern, value):
    """With the very words of the contract."""
    messages = [message for _, message in unavailable(document(pattern, value))]

    assert len(messages) == 1
    assert "not available in this version" in messages[0]


@pytest.mark.parametrize(("pattern", "value"), [(pattern, value) for pattern, (_, accepted) in EXAMPLES.items() for value in accepted])
def test_what_is_built_or_says_off_is_accepted(pattern, value):
    """Here; the schema may still have something to say."""
    assert list(unavailable(document(pattern, value))) == []


def test_the_path_of_a_refusal_leads_to_the_value():
    """Any service, any position."""
    root = {"services": {"*": {"mirror": {"service": "next"}}, "b": {"balancer": "maglev"}}}

    assert sorted(unavailable(root)) == [
        (("services", "*", "mirror"), "not available in this version"),
        (("services", "b", "balancer"), "`maglev` is not available in this version"),
    ]


def test_values_are_named_only_where_they_come_from_a_list():
    """Anything else could be a secret."""
    assert all(isinstance(refuses, Given) == ("`" in message) for pattern, refuses in ROWS for message in [say(pattern)])


def say(pattern: str) -> str:
    return next(message for _, message in unavailable(document(pattern, EXAMPLES[pattern][0][0])))


def test_only_values_that_work_are_offered():
    """Advice that leads to the next refusal is none."""
    assert offered(("services", "orders", "balancer"), ["ewma", "maglev"]) == ["ewma"]
    assert offered(("auth", "jwt", "algorithms", 3), ["HS256", "RS256"]) == ["HS256", "RS256"]
    assert offered(("logging", "level"), ["info"]) == ["info"]


def test_the_effective_default_of_what_is_not_built_is_off():
    """Whatever the contract's default: settings never promise what does not happen."""
    service = settings_of("auth: {default: none}").service("any")

    assert (service.mirror, service.hedge) == (None, None)


@pytest.mark.parametrize("value", [None, False, [], "off"])
def test_off_is_off_however_it_is_spelled(value):
    """What stands beside it stays."""
    root = {
        "compression": value,
        "services": {"orders": {"mirror": value, "zone_aware": value, "balancer": "p2c"}},
        "routes": [{"cache": value, "prefix": "/"}],
    }

    assert without_off(root) == {
        "services": {"orders": {"balancer": "p2c"}},
        "routes": [{"prefix": "/"}],
    }


def test_an_empty_map_is_not_off():
    """`hedge: {}` is a hedge with all its defaults: `compression: {}` must not be a gateway without compression."""
    text = "auth: {default: none}\ncompression: {}\nservices: {a: {hedge: {}, sticky: {}}}"
    assert errors_of(text) == [
        "gw.yaml:2: compression: not available in this version",
        "gw.yaml:3: services.a.sticky: not available in this version",
    ]


def test_the_shown_defaults_can_be_written_down():
    """No default is refused when an operator copies it from `/admin/config` into the file."""
    assert list(unavailable(settings_of("auth: {default: none}").masked())) == []
