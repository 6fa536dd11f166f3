"""The table of an exchange's phases, as a graph."""

from __future__ import annotations

import pytest

from lbgateway.dataplane import exchange_state
from lbgateway.dataplane.exchange import Exchange
from lbgateway.dataplane.exchange_state import TRANSITIONS, Phase
from tests.support.playbook import WatchedPhase, World, get


def reachable(start: Phase) -> set[Phase]:
    seen: set[Phase] = set()
    todo = [start]
    while todo:
        for after in TRANSITIONS[todo.pop()] - seen:
            seen.add(after)
            todo.append(after)
    return seen


def test_the_table_names_every_phase():
    """Also those that nothing follows."""
    assert set(TRANSITIONS) == set(Phase)
    assert reachable(Phase.BEGIN) == set(Phase) - {Phase.BEGIN}


@pytest.mark.parametrize("phase", set(Phase) - {Phase.SETTLED})
def test_from_everywhere_there_is_one_step_to_the_end(phase):
    """A client may leave at any time; and nothing comes after the end."""
    assert Phase.SETTLED in TRANSITIONS[phase]
    assert TRANSITIONS[Phase.SETTLED] == set()


@pytest.mark.parametrize("phase", [Phase.RESPONDING, Phase.TUNNEL])
def test_once_a_byte_went_to_the_client_there_is_no_way_back(phase):
    """No second answer, no other endpoint."""
    assert TRANSITIONS[phase] == {Phase.SETTLED}


def test_the_order_of_the_phases_is_that_of_the_story():
    """Comparisons like "is something being sent already" rest on it."""
    assert [phase.name for phase in Phase] == ["BEGIN", "PARKED", "PAUSED", "CONNECTING", "WAITING", "RESPONDING", "TUNNEL", "SETTLED"]
    assert (exchange_state.BEGIN, exchange_state.SETTLED) == (Phase.BEGIN, Phase.SETTLED)


def test_an_exchange_shows_where_it_stands():
    """Method, phase, attempt, endpoint, status: enough to read a log by."""
    world = World(orders=1)
    client = world.client().sends(get())
    assert repr(client.exchange) == "<Exchange GET CONNECTING attempt=1 endpoint=orders-1 status=0>"
    exchange = client.exchange
    client.ends()
    assert repr(exchange) == "<Exchange GET SETTLED attempt=1 endpoint=orders-1 status=499>"


def test_the_watch_over_the_table_watches(phases: WatchedPhase):
    """A step that is not in it fails: otherwise all the playbooks would prove nothing of it."""
    exchange = Exchange()
    exchange.phase = Phase.CONNECTING
    exchange.head = World().client().protocol.head
    with pytest.raises(AssertionError):
        exchange.phase = Phase.TUNNEL
    assert phases.seen == {(Phase.BEGIN, Phase.CONNECTING)}
