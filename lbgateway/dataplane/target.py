"""One spelling for one path: the same bytes decide the route, the public paths, and go to the upstream. Pure.

Whoever routes on one reading of a path and forwards another has a hole between the two. So a path is
resolved once (RFC 3986, 6.2.2: escapes of unreserved characters decoded, others in capitals, dot segments
removed), and what two parties could still read differently is refused, never repaired:

* an escaped slash, a backslash raw or escaped, control characters, raw or escaped, bytes above ASCII;
* UTF-8 in an overlong form, which some decoders take for the dot or slash that it is not;
* a ``%`` that begins no escape; a ``#``;
* dot segments that leave the root, that carry parameters (``..;x``), or that take back a segment without a name.

Parameters (``/a;v=1``) pass: to some upstreams they are part of the name, to others they are not. Where that would decide
on the route, or on whether a path is public, the exchange refuses the request; `without_parameters` is the other reading.

Doubled slashes are merged, as most upstreams and other gateways do: refusing them breaks clients that
join addresses carelessly, and after merging nobody can read them differently.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_is_plain = re.compile(rb"(?:/[^/.%;#\\\x00-\x20\x7f-\xff][^/%;#\\\x00-\x20\x7f-\xff]*+)*+/?+").fullmatch
"""A path of printable characters but % ; # and backslash, without ``//`` and ``/.``, is normal: nearly all are."""
_PLAIN_QUERY = bytes(range(0x21, 0x7F)).translate(None, b"#")

_ABSOLUTE = re.compile(rb"https?://([A-Za-z0-9._~!$&'()*+,;=%:\[\]-]+)(?=[/?]|\Z)", re.IGNORECASE)
"""No user information: RFC 9110, 4.2.4, calls it an error."""
_REFUSED = re.compile(
    rb"[\x00-\x20\x7f-\xff\\#]"
    rb"|%(?![0-9A-Fa-f]{2})"
    rb"|%(?:[01][0-9A-F]|2F|5C|7F)"
    rb"|%C[01]%[89AB]|%E0%[89]|%F0%8",
    re.IGNORECASE,
)
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_DOTS_WITH_PARAMETERS = re.compile(rb"\.\.?(?:;|%3B)")
_PARAMETERS = re.compile(rb"(?:;|%3B)[^/]*")
_SLASHES = re.compile(rb"//+")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Target(NamedTuple):
    """A request target, taken apart. ``path + query`` is what goes on."""

    path: bytes
    """In its normal form: begins with a slash, holds no ``//``, no dot segment. Or ``*``."""
    query: bytes
    """With its question mark, as it came; empty if there is none."""
    authority: bytes
    """Of an absolute target, where it overrules Host (RFC 9112, 3.2.2); else empty."""
    parameters: bool = False
    """Some segment of the path has parameters (``;x``)."""


def normalise(target: bytes, authority: bytes = b"") -> Target | None:
    """Take a request target apart and bring its path into the normal form; None means 400.

    Takes the origin form, the absolute form of http and https, and ``*``, which is for OPTIONS only: that
    the caller must see to. The authority form belongs to CONNECT and is refused like anything else.
    """
    path, mark, query = target.partition(b"?")
    if query and query.translate(None, _PLAIN_QUERY):
        return None
    if path and _is_plain(path):
        # Twice as fast as Target(…), once per request.
        return tuple.__new__(Target, (path, mark + query, authority, False))
    if path[:1] != b"/":
        return _other_form(target)
    resolved = _resolve(path)
    return None if resolved is None else Target(resolved, mark + query, authority, b";" in resolved or b"%3B" in resolved)


def without_parameters(path: bytes) -> bytes:
    """A normal path as upstreams read it that drop parameters; a segment of nothing else is gone."""
    return _SLASHES.sub(b"/", _PARAMETERS.sub(b"", path))


def _other_form(target: bytes) -> Target | None:
    if target == b"*":
        return Target(b"*", b"", b"")
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        return None
    rest = target[absolute.end() :]
    return normalise(rest if rest.startswith(b"/") else b"/" + rest, absolute[1])


def _resolve(path: bytes) -> bytes | None:
    if _REFUSED.search(path):
        return None
    kept: list[bytes] = []
    segments = _ESCAPE.sub(_canonical, path).split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            if not kept or not _PARAMETERS.sub(b"", kept.pop()):
                return None
        elif _DOTS_WITH_PARAMETERS.match(segment):
            return None
        elif segment != b".":
            kept.append(segment)
    merged = b"".join(b"/" + segment for segment in kept if segment)
    # A last dot segment names a directory, as an empty last segment does.
    directory = segments[-1] in (b"", b".", b"..")
    return merged + b"/" if directory else merged


def _canonical(escape: re.Match[bytes]) -> bytes:
    code = int(escape[1], 16)
    return bytes((code,)) if code in _UNRESERVED else escape[0].upper()
