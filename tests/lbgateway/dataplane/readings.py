"""How different programs read one path: an independent reference for what a gateway may accept.

No gateway knows who is behind it. Some decode escapes before they split a path, some after; some take a backslash for a
slash, drop parameters (``;x``) before they look for dots, merge empty segments, decode UTF-8 that they should refuse, or stay
at the root where a path leads out of it.
A path on which two of them disagree has two meanings, and one of them may be behind a check that looked at the other.
"""

from __future__ import annotations

import itertools
import re
from urllib.parse import unquote_to_bytes

OUTSIDE = (b"outside of the root",)
NEVER = re.compile(rb"[\x00-\x20\x7f-\xff#\\]|%(?![0-9A-Fa-f]{2})|%(?:[01][0-9A-Fa-f]|7[Ff]|2[Ff]|5[Cc])")
"""What no path holds, whatever it means: control characters, raw or escaped, bytes above ASCII, a fragment, half an escape, slashes
in disguise."""
OVERLONG = re.compile(rb"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]")


def readings(path: bytes) -> set[tuple[bytes, ...]]:
    """The segments, decoded and without parameters, that each kind of program ends up with."""
    return {_read(path, *habits) for habits in itertools.product((False, True), repeat=6)}


def _read(path: bytes, early: bool, backslash: bool, parameters: bool, merge: bool, lenient: bool, clamp: bool) -> tuple[bytes, ...]:
    def decode(text: bytes) -> bytes:
        plain = unquote_to_bytes(text)
        return OVERLONG.sub(_shortest, plain) if lenient else plain

    text = decode(path) if early else path
    if backslash:
        text = text.replace(b"\\", b"/")
    segments = text.split(b"/")[1:]
    if not early:
        segments = [decode(segment) for segment in segments]
        if backslash:
            segments = [part for segment in segments for part in segment.split(b"\\")]
    if parameters:
        segments = [segment.partition(b";")[0] for segment in segments]
    if merge:
        segments = [segment for segment in segments if segment]
    return _without_dots(segments, clamp)


def _without_dots(segments: list[bytes], clamp: bool) -> tuple[bytes, ...]:
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            if not kept and not clamp:
                return OUTSIDE
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    # Where nobody disagrees on places any more, neither empty segments nor parameters make a difference.
    return tuple(bare for segment in kept if (bare := segment.partition(b";")[0]))


def _shortest(found: re.Match[bytes]) -> bytes:
    code = 0
    for byte in found[0]:
        code = code << 6 | byte & (0x1F if byte >= 0xC0 and byte < 0xE0 else 0x0F if byte >= 0xE0 else 0x3F)
    return chr(code).encode()
