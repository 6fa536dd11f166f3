"""Findings and their order."""

import pytest

from lbgateway.config.errors import ConfigErrors, Finding, Origin, did_you_mean, spell


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("server", "port"), "server.port"),
        (("routes", 0, "prefix"), "routes[0].prefix"),
        (("services", "*", "retry", "on", 2), "services.*.retry.on[2]"),
        ((), ""),
    ],
)
def test_a_path_is_spelled_as_an_operator_would(path, text):
    """Dots for keys, brackets for positions."""
    assert spell(path) == text


def test_a_finding_reads_as_place_key_and_sentence():
    """The format that the contract gives to `lbgateway check`."""
    assert str(Finding(Origin("gw.yaml", 3), ("server", "port"), "is wrong")) == "gw.yaml:3: server.port: is wrong"
    assert str(Finding(Origin("LBGATEWAY_SERVER__PORT"), ("server", "port"), "is wrong")) == "LBGATEWAY_SERVER__PORT: server.port: is wrong"
    assert str(Finding(Origin("gw.yaml", 1), (), "is no map")) == "gw.yaml:1: is no map"


def test_errors_come_in_the_order_of_lines_and_only_once():
    """Line 9 before line 10; what is not in the file comes last."""
    late, early = Finding(Origin("f", 10), ("a",), "x"), Finding(Origin("f", 9), ("b",), "x")
    foreign = Finding(Origin("LBGATEWAY_A__B"), ("a", "b"), "x")

    errors = ConfigErrors([foreign, late, early, late])

    assert errors.errors == [early, late, foreign]
    assert str(errors) == "f:9: b: x\nf:10: a: x\nLBGATEWAY_A__B: a.b: x"


@pytest.mark.parametrize(("word", "hint"), [("prot", "; did you mean `port`?"), ("PORT", "; did you mean `port`?"), ("zzz", "")])
def test_the_nearest_right_word_is_named(word, hint):
    """Nothing is better than a far-fetched guess."""
    assert did_you_mean(word, ["host", "port", "workers"]) == hint
