"""Which pages of other origins may read answers (Fetch Standard, section 3.2).

The gateway answers preflights itself, before anybody asks for a token, and says on every other answer, errors
included, whether the asking page may read it. A service behind says nothing about it: two voices would be one
too many, so its ``Access-Control-*`` fields are dropped. An origin that is not allowed gets the same answers
without the permission; it is the browser that refuses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from lbgateway.config.origin_rules import LONGEST_ORIGIN
from lbgateway.policies.answer import Answer

if TYPE_CHECKING:
    from lbgateway.config.edge import CorsSettings

REMEMBERED_ORIGINS: Final = 1000
"""Allowed origins whose lines are kept; a pattern lets clients choose them, so their number is bounded."""

CORS_FIELDS: Final = (
    "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers",
    "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age", "Access-Control-Allow-Private-Network",
)  # fmt: skip
"""Never a service's word where the gateway does CORS."""

_VARY = b"Vary: Origin\r\n"
_VARY_PREFLIGHT = b"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n"
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_METHOD = re.compile(_TOKEN)
_WORD = re.compile(rb"[!-~]{1,%d}" % LONGEST_ORIGIN).fullmatch
"""What an origin is at least, and at most. A pattern like ``.*`` matches more: nothing, blanks, what stands for two ``Origin`` fields."""
_NAMES = re.compile(rb"(?:%b)(?:[ \t]*,[ \t]*%b)*" % (_TOKEN, _TOKEN))


class Cors:
    """The rules of one route, worked out beforehand."""

    __slots__ = ("_answers", "_exact", "_expose", "_grants", "_headers", "_max_age", "_methods", "_pattern")

    def __init__(self, rules: CorsSettings) -> None:
        self._exact = None if "*" in rules.allow_origins else frozenset(origin.encode() for origin in rules.allow_origins)
        """None: all origins."""
        self._pattern = re.compile(rules.allow_origin_regex.encode()) if rules.allow_origin_regex else None
        self._methods = None if "*" in rules.allow_methods else ", ".join(rules.allow_methods).encode()
        self._headers = None if "*" in rules.allow_headers else ", ".join(rules.allow_headers).encode()
        self._grants = b"Access-Control-Allow-Credentials: true\r\n" if rules.allow_credentials else b""
        expose = ", ".join(rules.expose_headers)
        self._expose = f"Access-Control-Expose-Headers: {expose}\r\n".encode() if expose else b""
        self._max_age = b"Access-Control-Max-Age: %d\r\n" % rules.max_age
        self._answers: dict[bytes | None, bytes] = {}

    def admit(self, exchange: Any) -> Answer | None:
        """A policy: answers a preflight, and tells every other answer who may read it."""
        if exchange.preflight:
            return self.preflight(exchange.head.origin, exchange.preflight, exchange.head.lines)
        exchange.answer_lines = self._answers.get(exchange.head.origin) or self.lines(exchange.head.origin)
        return None

    def lines(self, origin: bytes | None) -> bytes:
        """What an answer to a page of `origin` carries, None being no page; with ``Vary`` also where nothing is granted."""
        granted = self._grant(origin)
        lines = (granted + self._expose if granted else b"") + (b"" if self._exact is None else _VARY)
        if (granted or origin is None) and len(self._answers) < REMEMBERED_ORIGINS:
            self._answers[origin] = lines
        return lines

    def preflight(self, origin: bytes, method: bytes, request_lines: list[bytes]) -> Answer:
        """The answer to the question whether a page of `origin` may send a `method` request."""
        granted = self._grant(origin)
        if not granted:
            return Answer(204, _VARY_PREFLIGHT)
        methods = method if self._methods is None and _METHOD.fullmatch(method) else self._methods or b""
        names = asked_headers(request_lines) if self._headers is None else self._headers
        lines = [granted, b"Access-Control-Allow-Methods: %b\r\n" % methods]
        if names:
            lines.append(b"Access-Control-Allow-Headers: %b\r\n" % names)
        return Answer(204, b"".join((*lines, self._max_age, _VARY_PREFLIGHT)))

    def _grant(self, origin: bytes | None) -> bytes:
        """The lines that let a page of `origin` read; empty for one that may not, and for no page."""
        if self._exact is None:
            return b"Access-Control-Allow-Origin: *\r\n"
        if origin is None or not (origin in self._exact or self._fits(origin)):
            return b""
        return b"Access-Control-Allow-Origin: %b\r\n%b" % (origin, self._grants)

    def _fits(self, origin: bytes) -> bool:
        return self._pattern is not None and _WORD(origin) is not None and self._pattern.fullmatch(origin) is not None


def asked_method(lines: list[bytes]) -> bytes:
    """``Access-Control-Request-Method`` of flattened `lines`; empty where there is none, or more than one."""
    found = _fields(lines, b"access-control-request-method")
    return found[0] if len(found) == 1 else b""


def asked_headers(lines: list[bytes]) -> bytes:
    """``Access-Control-Request-Headers`` as one list of names; empty where it is none."""
    names = b", ".join(_fields(lines, b"access-control-request-headers"))
    return names if _NAMES.fullmatch(names) else b""


def _fields(lines: list[bytes], name: bytes) -> list[bytes]:
    return [lines[index + 2].strip() for index in range(1, len(lines) - 2, 4) if lines[index].lower() == name]
