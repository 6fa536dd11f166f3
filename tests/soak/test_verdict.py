"""When an hour was as it should be, and what is said if it was not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from tests.soak.samples import Sample
from tests.soak.stage import Run, Told
from tests.soak.verdict import MIB, table, wrong

TARGET = "lbgateway.dataplane.target.Target"
EXCHANGE = "lbgateway.dataplane.exchange.Exchange"


def told(**endings: int) -> Told:
    """Reads that ended so: ``read_200=5``."""
    return Told(Counter(read=sum(endings.values())), Counter({name.replace("_", " "): count for name, count in endings.items()}), 0.02)


def samples(rss_mib: float = 0.0, files: float = 0.0) -> list[Sample]:
    """An hour in which memory and descriptors grow by so many."""
    return [Sample(at, round((100 + rss_mib * at / 3600) * MIB), round(60 + files * at / 3600), 8, 10) for at in range(0, 3600, 5)]


WELL = Run(
    3600.0, told(read_200=1000), Counter(reload=3), samples(), {"tasks": 8, "timers": 9}, {"tasks": 8, "timers": 10}, {"200": 1000}, [], []
)  # fmt: skip


def test_an_hour_that_was_well():
    """Nothing is said, and the table has its figures."""
    assert wrong(WELL) == []
    assert "| resident memory, MiB, under load | 100.0 | 100.0 | +0.0 an hour |" in table(WELL)
    assert "| requests that clients made, and that the gateway counted | 1,000 | 1,000 |  |" in table(WELL)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": samples(rss_mib=20)}, "resident memory, MiB grew: "),
        ({"samples": samples(files=100)}, "descriptors grew: "),
        ({"after": {"tasks": 14, "timers": 9}}, "tasks at rest: 8 before, 14 after"),
        ({"after": {"tasks": 8, "timers": 30}}, "timers at rest: 9 before, 30 after"),
        ({"after": {"tasks": 8, "timers": 9, EXCHANGE: 2}}, f"objects: {EXCHANGE} (0, 2)"),
        ({"after": {"tasks": 8, "timers": 9, TARGET: 2000}}, f"objects: {TARGET} (0, 2000)"),
        ({"unbalanced": ["orders-1"]}, "unbalanced: orders-1"),
        ({"bugs": ["Traceback"]}, "in the log: Traceback"),
        ({"counted": {"200": 999}}, "clients have asked 1000 times, the gateway counted 999"),
        ({"counted": {"200": 999, "404": 1}}, "404: 0 times for clients, 1 times for the gateway"),
        ({"told": told(read_200=999, read_502=1)}, "1 times read 502"),
        ({"told": told(read_cut=1, read_200=999)}, "1 times read cut"),
    ],
)
def test_each_thing_that_is_wrong_is_said(change, said):
    """One line each."""
    found = wrong(replace(WELL, **change))
    assert [line.startswith(said) for line in found] == [True]


def test_what_is_remembered_up_to_a_bound_may_fill_up():
    """A thousand targets are no leak, nor is what has become less."""
    assert wrong(replace(WELL, after={"tasks": 2, "timers": 1, TARGET: 1000})) == []


def test_what_an_instance_takes_along_is_no_loss():
    """A write may be answered 502, a stream be cut; another's answer never comes."""
    asked = Counter({"read": 998, "write": 1, "stream": 1})
    endings = Counter({"read 200": 998, "write 502": 1, "stream cut": 1})
    assert wrong(replace(WELL, told=Told(asked, endings, 0.02))) == []
    endings = Counter({"read 200": 998, "write 502": 1, "stream another's answer": 1})
    assert wrong(replace(WELL, told=Told(asked, endings, 0.02))) == ["1 times stream another's answer"]
