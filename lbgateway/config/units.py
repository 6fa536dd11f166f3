"""Durations and sizes as people write them: ``250ms``, ``1m30s``, ``64KiB``. Pure."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s?([KMG]i?B|B)", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?", re.ASCII)

MAX_DURATION_S = 3650 * 86400.0
"""Ten years: longer is a slip of the finger, and timers overflow somewhere above it."""
MAX_SIZE_BYTES = 2**50


def parse_duration(text: str) -> float:
    """Seconds of ``250ms``, ``5s``, ``1m30s``, ``2h`` or ``1d``; `ValueError` with advice otherwise."""
    text = text.strip()
    if text.startswith("-") and text[1:2].isdigit():
        raise ValueError("a duration cannot be negative")
    if _NUMBER.fullmatch(text):
        raise ValueError(f"a duration needs a unit: write {text}s for seconds or {text}ms for milliseconds")
    if not _DURATION.fullmatch(text):
        raise ValueError("not a duration: write for example 250ms, 5s, 1m30s or 1h")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if seconds > MAX_DURATION_S:
        raise ValueError("a duration cannot be longer than ten years")
    return round(seconds, 9)


def format_duration(seconds: float) -> str:
    """The shortest spelling that `parse_duration` reads back as the same number of seconds."""
    for unit in ("d", "h", "m", "s"):
        amount = seconds / _SECONDS[unit]
        if seconds and amount == int(amount):
            return f"{int(amount)}{unit}"
    milliseconds = round(seconds * 1000, 6)
    if not milliseconds:
        return "0s"
    whole = int(milliseconds)
    return f"{whole}ms" if milliseconds == whole else f"{milliseconds:f}".rstrip("0") + "ms"


def parse_size(text: str) -> int:
    """Bytes of ``512B``, ``64KiB``, ``10MB`` or ``1.5GiB``; `ValueError` with advice otherwise."""
    text = text.strip()
    if text.startswith("-") and text[1:2].isdigit():
        raise ValueError("a size cannot be negative")
    if _NUMBER.fullmatch(text):
        raise ValueError(f"a size needs a unit: write {text}B for bytes, or for example 64KiB, 10MiB")
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError("not a size: write for example 512B, 64KiB, 10MiB or 1GiB")
    size = float(found[1]) * _BYTES[found[2].lower()]
    if size > MAX_SIZE_BYTES:
        raise ValueError("a size cannot be larger than 1024 TiB")
    return int(size)


def format_size(size: int) -> str:
    """The shortest spelling that `parse_size` reads back as the same number of bytes."""
    for unit in ("GiB", "MiB", "KiB"):
        factor = _BYTES[unit.lower()]
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size}B"
