"""From answers to verdicts: histories as strings, p for a check that passed, f for one that failed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.checks.record import Record
from lbgateway.dataplane.rules import CheckRules

RULES = CheckRules(unhealthy_after=3, healthy_after=2)


def heard(history: str, rules: CheckRules = RULES) -> tuple[Record, str]:
    """The record, and for each answer whether it changed the verdict (``!``) or not (``.``)."""
    record = Record()
    return record, "".join(".!"[record.hear(None if each == "p" else "refused", rules)] for each in history)


@pytest.mark.parametrize(
    ("history", "changes", "healthy"),
    [
        ("", "", None),
        ("p", "!", True),
        ("pp", "!.", True),
        ("ff", "..", None),
        ("fff", "..!", False),
        ("ffpff", "..!..", True),
        ("ffff", "..!.", False),
        ("fffp", "..!.", False),
        ("fffpp", "..!.!", True),
        ("fffpfp", "..!...", False),
        ("fffppff", "..!.!..", True),
        ("fffppfff", "..!.!..!", False),
    ],
)
def test_verdicts_change_after_so_many_in_a_row(history: str, changes: str, healthy: bool | None):
    """Three failures take out, two successes bring back; the first success of all is enough to be well."""
    record, told = heard(history)
    assert (told, record.healthy) == (changes, healthy)


def test_a_verdict_says_why():
    """With the count of its moment, so that the words stay the same while it does."""
    record, _ = heard("fffff")
    assert record.why == "our health check: refused, 3 in a row"
    assert heard("fffpp")[0].why == "answers our health check"


@given(st.text("pf", max_size=30), st.integers(1, 4), st.integers(1, 4))
def test_the_verdict_is_what_the_last_run_says(history: str, unhealthy_after: int, healthy_after: int):
    """Whatever came before: a run as long as the rules want decides, and nothing else changes a verdict."""
    record, _ = heard(history, CheckRules(unhealthy_after=unhealthy_after, healthy_after=healthy_after))
    run = len(history) - len(history.rstrip(history[-1:])) if history else 0
    if history.endswith("f") and run >= unhealthy_after:
        assert record.healthy is False
    if history.endswith("p") and run >= healthy_after:
        assert record.healthy is True
    if "f" * unhealthy_after not in history:
        assert record.healthy is not False


@pytest.mark.parametrize(("status", "verdict"), [(199, False), (200, True), (302, True), (399, True), (400, False), (503, False)])
def test_a_status_is_judged_by_its_bounds(status: int, verdict: bool):
    """Both belong to it."""
    said = CheckRules(path="/healthz").judge(status)
    assert said == (None if verdict else f"GET /healthz answered {status}")
