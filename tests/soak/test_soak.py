"""The short form of ``make soak``: clients of every kind, a few things that go wrong, and nothing that stays."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from tests.soak.evidence import explain, grouped
from tests.soak.faults import SERVICES
from tests.soak.stage import Run, run
from tests.soak.verdict import failed, held, miscounted

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("soak")


@pytest.fixture(scope="module")
def played(kept: Path) -> Run:
    """A short run; long enough for a handful of faults."""
    return run(seconds=12, warm_s=3, per_second=60, every_s=1, seed=3, first=0, keep=kept)


def test_no_request_is_lost_that_could_be_saved(played: Run):
    """Reads end well whatever goes wrong, and nobody gets another's answer or none at all."""
    assert played.happened.total() >= 2
    assert failed(played.told) == {}, grouped(played.lost)


def test_the_gateway_counts_what_its_clients_count(played: Run):
    """Every request once, whatever became of it."""
    assert miscounted(played) == []


def test_nothing_is_under_way_when_nobody_asks(played: Run):
    """No request, no attempt, no leased connection, and no object or task of them."""
    assert played.unbalanced == []
    assert held(played) == {}
    assert played.after["tasks"] <= played.before["tasks"] + 3
    assert played.bugs == []


def test_what_could_explain_a_loss_is_kept(played: Run, kept: Path):
    """Each fault with its time and victim, the events of the services, and all of the gateway's log: a line for each request."""
    faults, events = ([json.loads(line) for line in (kept / f"{name}.jsonl").read_text().splitlines()] for name in ("faults", "events"))
    assert Counter(fault["name"] for fault in faults) == played.happened
    assert {event.get("service") for event in events} >= set(SERVICES)
    with gzip.open(kept / "gateway.log.gz", "rt") as lines:
        log = [line for line in lines if '"request_id":' in line]
    assert len(log) >= played.told.asked.total()
    lost = {"at": faults[-1]["until"], "kind": "read", "path": json.loads(log[-1])["path"], "ending": "502"}
    (told,) = explain([lost], log, events, faults)
    assert (told["access"]["path"], len(told["faults"]) >= 1) == (lost["path"], True)
