"""The menu of balancers."""

from __future__ import annotations

from random import Random

import pytest

from balancers import BALANCERS, DEFAULT, PLANNED, Ewma, make_balancer


def test_the_menu_has_the_names_of_the_configuration():
    """What `balancer:` may say is fixed; the rest is planned, not pretended."""
    assert set(BALANCERS) == {"round_robin", "weighted", "least_connections", "random", "p2c", "ewma", "peak_ewma"}
    assert {"ring_hash", "maglev", "rendezvous", "prequal"} == PLANNED
    assert BALANCERS[DEFAULT] is Ewma


@pytest.mark.parametrize("name", sorted(BALANCERS))
def test_a_balancer_is_made_by_its_name(name):
    """And knows it."""
    assert make_balancer(name, Random(1)).name == name


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("maglev", "balancer 'maglev' is not available in this version"),
        ("roundrobin", "no balancer is called 'roundrobin'; choose one of round_robin, weighted, least_connections"),
    ],
)
def test_a_name_that_is_not_on_the_menu_is_refused_in_words(name, sentence):
    """The sentence is fit for a user."""
    with pytest.raises(ValueError, match=sentence):
        make_balancer(name, Random(1))
