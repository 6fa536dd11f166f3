"""Durations and sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.config.units import MAX_DURATION_S, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5.0),
        ("1m", 60.0),
        ("1h", 3600.0),
        ("1d", 86400.0),
        ("1m30s", 90.0),
        ("1.5s", 1.5),
        ("0s", 0.0),
        (" 2s ", 2.0),
    ],
)
def test_durations_are_read_as_seconds(text, seconds):
    """Each unit, alone and together."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("5", "write 5s for seconds"),
        ("0.5", "write 0.5s for seconds"),
        ("-5", "negative"),
        ("-5s", "negative"),
        ("5 s", "not a duration"),
        ("5S", "not a duration"),
        ("soon", "not a duration"),
        ("", "not a duration"),
        ("\u0665s", "not a duration"),
        ("99999999h", "ten years"),
    ],
)
def test_what_is_no_duration_is_refused_with_advice(text, advice):
    """A bare number is the usual mistake, and gets told what it may have meant."""
    with pytest.raises(ValueError, match=advice):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512B", 512),
        ("64KiB", 65536),
        ("64kib", 65536),
        ("10MiB", 10 * 2**20),
        ("1GiB", 2**30),
        ("10MB", 10**7),
        ("1.5KiB", 1536),
        ("1 KiB", 1024),
    ],
)
def test_sizes_are_read_as_bytes(text, size):
    """Binary and decimal units, in any case."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "advice"),
    [("64", "write 64B for bytes"), ("-1", "negative"), ("-1KiB", "negative"), ("64K", "not a size"), ("9999999GiB", "larger")],
)
def test_what_is_no_size_is_refused_with_advice(text, advice):
    """As with durations."""
    with pytest.raises(ValueError, match=advice):
        parse_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0s"), (0.25, "250ms"), (90.0, "90s"), (60.0, "1m"), (3600.0, "1h"), (0.0005, "0.5ms")]
)
def test_durations_are_shown_as_one_would_write_them(seconds, text):
    """The largest unit that needs no fraction."""
    assert format_duration(seconds) == text


@given(st.integers(0, int(MAX_DURATION_S * 1000)))
def test_a_shown_duration_is_read_back(milliseconds):
    """Whatever the unit."""
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@given(st.integers(0, 2**50))
def test_a_shown_size_is_read_back(size):
    """Whatever the unit."""
    assert parse_size(format_size(size)) == size
