"""Records are values."""

from __future__ import annotations

from discovery.embedded.records import Check, Refusal, Service


def test_records_with_the_same_content_are_the_same() -> None:
    """That is how the catalogue tells a repetition from a change."""
    assert Service("a", "a", meta={"k": "v"}) == Service("a", "a", meta={"k": "v"}) != Service("a", "a")
    assert Check("c", "c") == Check("c", "c") != Check("c", "c", status="passing")


def test_a_refusal_knows_its_status_and_its_text() -> None:
    """It is all that the client will see."""
    refusal = Refusal(400, "Missing service name")
    assert (refusal.status, refusal.text, str(refusal)) == (400, "Missing service name", "Missing service name")
