"""The record that everything else counts on."""

from __future__ import annotations

from balancers import Endpoint, EndpointState


def test_a_new_endpoint_knows_nothing():
    """Ready, idle, without a sample."""
    endpoint = Endpoint(("dc1", "n1", "a"), "a", 3.0)
    assert (endpoint.state, endpoint.reason, endpoint.active) == (EndpointState.READY, None, 0)
    assert (endpoint.latency_s, endpoint.latency_at_s, endpoint.oldest_at_s) == (0.0, 0.0, 0.0)


def test_its_text_tells_state_and_numbers():
    """Good enough to assert on."""
    endpoint = Endpoint("k", "orders-1", 2.5)
    endpoint.active, endpoint.latency_s, endpoint.state = 4, 0.0123, EndpointState.SUSPECT
    assert repr(endpoint) == "<Endpoint orders-1 suspect active=4 weight=2.5 latency=12.3ms>"


def test_two_records_of_one_key_are_not_the_same():
    """Identity counts: sets and exclusions hold objects."""
    assert Endpoint("k", "a") != Endpoint("k", "a")
