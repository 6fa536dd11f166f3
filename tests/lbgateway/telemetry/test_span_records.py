"""What is noted of a traced exchange."""

from lbgateway.telemetry.span_records import AttemptRecord


def test_an_attempt_that_has_just_begun_has_no_answer_and_no_end():
    """It is filled in while it runs."""
    attempt = AttemptRecord(b"00f067aa0ba902b7", 5.0, "orders-1", "10.0.0.7", 9001)

    assert (attempt.status, attempt.outcome, attempt.slug) == (0, "", None)
    assert attempt.ended_s == attempt.began_s == 5.0
