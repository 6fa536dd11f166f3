"""Fields that make browsers careful, on every answer: a service's, the gateway's own, and errors.

What an answer says itself stays: a service knows best whether its pages may be framed. Defaults follow the
OWASP HTTP Headers Cheat Sheet, where they cannot break a page. ``Strict-Transport-Security`` is given over
TLS only (RFC 6797, section 7.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DEFAULTS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Strict-Transport-Security": "max-age=31536000",
}
"""The contract's ``security_headers: true``."""

OVER_TLS_ONLY: Final = frozenset((b"strict-transport-security",))


class SecurityHeaders:
    """Compiled once. `changes` go over `DEFAULTS` regardless of case: a value replaces or adds a field, None takes it away."""

    __slots__ = ("_fields", "_names", "_plain", "_secure")

    def __init__(self, changes: Mapping[str, str | None]) -> None:
        chosen: dict[str, tuple[str, str | None]] = {name.lower(): (name, value) for name, value in (*DEFAULTS.items(), *changes.items())}
        self._fields = tuple(
            (lower.encode(), f"{name}: {value}\r\n".encode("latin-1")) for lower, (name, value) in chosen.items() if value is not None
        )
        self._names = frozenset(name for name, _ in self._fields)
        self._secure = b"".join(line for _, line in self._fields)
        self._plain = b"".join(line for name, line in self._fields if name not in OVER_TLS_ONLY)

    def __repr__(self) -> str:
        return f"<SecurityHeaders {b' '.join(sorted(self._names)).decode()}>"

    def all(self, *, secure: bool) -> bytes:
        """Complete lines, each with its CRLF; `secure`: the client speaks TLS."""
        return self._secure if secure else self._plain

    def missing(self, names: Iterable[bytes], also: frozenset[bytes] = frozenset(), *, secure: bool) -> bytes:
        """The lines that an answer lacks which has fields of these `names`, in any case, and of those in `also`, lower-case."""
        present = self._names.intersection(map(bytes.lower, names)) | self._names.intersection(also)
        if not present:
            return self._secure if secure else self._plain
        return b"".join(line for name, line in self._fields if name not in present and (secure or name not in OVER_TLS_ONLY))
