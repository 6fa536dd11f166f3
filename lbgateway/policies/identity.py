"""Who is asking, as far as it has been proved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Identity:
    """What a request may say and do in a subject's name. One object serves all requests with the same credential.

    `until_s` is a moment of the monotonic clock: from then on it has to be proved anew.
    """

    __slots__ = ("claims", "keys", "lines", "scopes", "until_s")

    def __init__(self, claims: Mapping[str, Any], lines: bytes, until_s: float) -> None:
        self.claims = claims
        self.scopes = scopes_of(claims)
        self.lines = lines
        """Complete header lines for the services behind, each with its CRLF."""
        self.until_s = until_s
        self.keys: dict[str, bytes] = {}
        """Claim -> what stands for its value where requests are counted, once somebody has asked (`policies.limit_key`)."""

    def __repr__(self) -> str:
        return f"<Identity {self.claims.get('sub')!r} {' '.join(sorted(self.scopes))}>"

    @property
    def subject(self) -> str | None:
        """``sub``, or None where a token has none."""
        return self.claims.get("sub")


def agree(one: Identity, other: Identity) -> bool:
    """Whether two credentials may belong to the same subject: the token of one user does not go with the session of another."""
    mine, others = one.claims.get("sub"), other.claims.get("sub")
    return mine == others or mine is None or others is None


def needs_none(exchange: Any) -> bool:
    """Public paths, OPTIONS, preflights: whatever credential a request shows there is not even looked at (the contract, section 3)."""
    route = exchange.route
    options = exchange.head.method == b"OPTIONS" and (route.options_public or exchange.preflight)
    return bool(options or route.is_public(exchange.target.path))


def scopes_of(claims: Mapping[str, Any]) -> frozenset[str]:
    """``scope`` is one text (RFC 8693, section 4.2); some issuers write a list, or ``scp``."""
    found: set[str] = set()
    for value in (claims.get("scope"), claims.get("scp")):
        if isinstance(value, str):
            found.update(value.split())
        elif isinstance(value, (list, tuple)):
            found.update(item for item in value if isinstance(item, str))
    return frozenset(found)


def claim_lines(claims: Mapping[str, Any], headers: Mapping[str, str]) -> bytes:
    """The header lines that carry claims; `headers`: claim -> header name. What would not be one clean value is left out."""
    return b"".join(line for claim, header in headers.items() if (line := _line(header, claims.get(claim))))


def _line(header: str, value: object) -> bytes:
    text = _text(value)
    # Space around a value is lost on the way: " admin" must not arrive as "admin".
    return f"{header}: {text}\r\n".encode() if text and text.isprintable() and text == text.strip() else b""


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list):
        parts = [_text(item) for item in value if not isinstance(item, list)]
        # Joined by spaces, one item that holds a space would read as two.
        return " ".join(parts) if len(parts) == len(value) and all(part and " " not in part for part in parts) else ""
    return ""
