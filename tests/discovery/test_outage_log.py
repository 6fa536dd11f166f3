"""One line per outage and kind, not one per read."""

from __future__ import annotations

import pytest

from discovery.errors import INDEX_RESET
from discovery.outage_log import ABOUT_TOKENS, SELDOM_S, OutageLog


def test_an_outage_is_told_once_per_kind(caplog: pytest.LogCaptureFixture) -> None:
    """All of them are counted; advice comes with a refusal, and the end is told if the beginning was."""
    caplog.set_level("INFO", logger="discovery")
    counted: list[str] = []
    log = OutageLog(lambda: "http://consul.test", counted.append, lambda: 0.0)

    log.recovered()
    silence = ("timeout", "silence")
    for kind, text in [silence, silence, ("denied", "ACL not found"), silence, (INDEX_RESET, "")]:
        log.failed(kind, text)
    log.moved("http://one", "http://two")
    log.recovered()
    log.recovered()

    assert counted == ["timeout", "timeout", "denied", "timeout", "index_reset"]
    assert [record.getMessage() for record in caplog.records] == [
        "Consul cannot be read, what is known stays: silence",
        "Consul cannot be read, what is known stays: ACL not found" + ABOUT_TOKENS,
        "Consul's index went backwards: it was restarted or restored",
        "another Consul agent is asked from now on, instead of http://one",
        "Consul answers again",
    ]


def test_what_was_told_lately_is_not_told_again(caplog: pytest.LogCaptureFixture) -> None:
    """Neither its beginning nor its end; one that goes on is told when its time has come."""
    caplog.set_level("INFO", logger="discovery")
    now_s = [0.0]
    log = OutageLog(lambda: "http://consul.test", lambda _kind: None, lambda: now_s[0])
    for at_s in (0.0, 1.0, 2.0, SELDOM_S - 1):
        now_s[0] = at_s
        log.failed("connection_lost", f"cut at {at_s:g} s")
        log.recovered()
    for at_s in (SELDOM_S - 0.5, SELDOM_S + 0.5, SELDOM_S + 5):
        now_s[0] = at_s
        log.failed("connection_lost", f"gone at {at_s:g} s")
    log.recovered()

    assert [record.getMessage().removeprefix("Consul cannot be read, what is known stays: ") for record in caplog.records] == [
        "cut at 0 s",
        "Consul answers again",
        "gone at 30.5 s",
        "Consul answers again",
    ]
