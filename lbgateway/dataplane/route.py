"""A route as requests meet it: plain values, everything worked out beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lbgateway.dataplane.head import AS_VARIABLE
from lbgateway.errors import REDIRECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lbgateway.controlplane.route_views import RouteView
    from lbgateway.errors import GatewayError
    from lbgateway.policies.answer import Answer
    from lbgateway.policies.cors import Cors
    from lbgateway.policies.gcra import Limit
    from lbgateway.policies.wait import Wait
    from lbgateway.telemetry.metrics import RouteSeries

    Admit = Callable[[Any], GatewayError | Answer | Wait | None]
    """A policy's question to an exchange: None lets it pass, a `Wait` parks it."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, each more than 0; see ``services.*.timeout`` in the contract."""

    connect: float
    response: float
    total: float
    idle: float
    tunnel_idle: float
    pool_idle: float


@dataclass(frozen=True, slots=True)
class Retries:
    """``attempts``: tries after the first. ``on``: words of the contract. ``backoff``: seconds. ``replay_body_up_to``: bytes.

    ``budget`` and ``min_per_second``: see `policies.retry_budget`.
    """

    attempts: int
    on: frozenset[str]
    budget: float
    min_per_second: float
    backoff: float
    replay_body_up_to: int


class HeaderEdits:
    """What a route changes in a header section: names to drop, in any spelling (`head.AS_VARIABLE`), then ready lines to add."""

    __slots__ = ("added", "dropped", "names")

    def __init__(self, dropped: frozenset[bytes], added: bytes, names: frozenset[bytes] = frozenset()) -> None:
        self.dropped = dropped
        self.added = added
        """Complete lines, each with its CRLF."""
        self.names = names
        """The lower-case names in `added`."""

    def apply(self, lines: list[bytes], *, start: int = 0) -> list[bytes]:
        """A new list: fields as (name, b": ", value, CRLF) flattened from slot `start` on; what is before stays."""
        kept = self.dropping(lines, start=start)
        if self.added:
            kept.append(self.added)
        return kept

    def dropping(self, lines: list[bytes], *, start: int = 0) -> list[bytes]:
        """The same without what is added: for trailers and interim responses, in which nobody looks for it."""
        kept = lines[:start]
        for index in range(start, len(lines), 4):
            if lines[index].translate(AS_VARIABLE) not in self.dropped:
                kept += lines[index : index + 4]
        return kept

    def dropping_from(self, ready: bytes) -> bytes:
        """The same of complete lines, each with its CRLF."""
        kept = [line for line in ready.split(b"\r\n")[:-1] if line.partition(b":")[0].translate(AS_VARIABLE) not in self.dropped]
        return b"".join(line + b"\r\n" for line in kept)


class PublicPaths:
    """Paths that need no token, matched on the normalised path before anything is stripped."""

    __slots__ = ("exact", "prefixes", "subtrees")

    def __init__(self, exact: frozenset[bytes], prefixes: tuple[bytes, ...]) -> None:
        """`prefixes` without their last slash; the empty one stands for all paths."""
        self.exact = exact
        self.prefixes = frozenset(prefixes)
        self.subtrees = tuple(prefix + b"/" for prefix in prefixes)

    def __contains__(self, path: bytes) -> bool:
        return path in self.exact or path in self.prefixes or path.startswith(self.subtrees)


class Redirect:
    """Where a route sends its clients instead of a service."""

    __slots__ = ("status", "to")

    def __init__(self, to: bytes, status: int) -> None:
        self.to = to
        self.status = status

    def location(self, path: bytes, query: bytes) -> bytes:
        """The ``Location`` for a forwarded path; `query` with its question mark is kept."""
        place = self.to.replace(b"{path}", path)
        if query and b"?" in place:
            query = b"&" + query[1:]
        return place + query


class Route:
    """One compiled route. Only `admit` (set by who composes the policies) and `series` change after that."""

    __slots__ = (
        "label",
        "host",
        "prefix",
        "methods",
        "headers",
        "service",
        "auth",
        "cors",
        "limit",
        "options_public",
        "public",
        "timeout",
        "retry",
        "max_body",
        "request_edits",
        "response_edits",
        "redirect",
        "rewrites",
        "view",
        "variants",
        "admit",
        "series",
        "_add",
        "_name_at",
        "_strip",
        "_strip_at",
    )

    def __init__(  # noqa: PLR0913 one keyword for each thing a route decides, all given at one place
        self,
        *,
        view: RouteView,
        methods: frozenset[bytes] | None,
        headers: tuple[tuple[bytes, bytes], ...],
        by_name: bool,
        timeout: Timeouts,
        retry: Retries,
        max_body: int | None,
        options_public: bool = True,
        public: PublicPaths | None = None,
        request_edits: HeaderEdits | None = None,
        response_edits: HeaderEdits | None = None,
        redirect: Redirect | None = None,
        cors: Cors | None = None,
        limit: Limit | None = None,
    ) -> None:
        # who it is
        self.label = (view["host"] or "") + view["prefix"]
        """For metrics and logs: what the operator wrote, never what a client sends."""
        self.view = view
        # what it matches
        self.host = view["host"]
        self.prefix = b"" if view["prefix"] == "/" else view["prefix"].encode()
        self.methods, self.headers = methods, headers
        """Conditions: lower-case name and exact value."""
        # where it leads
        self.service = view["service"]
        """None where the path names the service."""
        self.variants: dict[bytes, Route] = {}
        """Of a route by name: the same route as services with settings of their own need it."""
        self.redirect = redirect
        self._name_at = self.prefix.rfind(b"/") + 1 if by_name else 0
        self._strip = view["strip_prefix"]
        self._strip_at = len(self.prefix)
        self._add = b"" if view["add_prefix"] in (None, "/") else str(view["add_prefix"]).encode()
        self.rewrites = bool((self._strip and self._strip_at) or self._add)  # or the service gets the path as it came
        # how
        self.auth, self.cors, self.limit = view["auth"], cors, limit
        self.options_public = options_public
        self.public = public
        """None if no public path lies below this route; see `is_public`."""
        self.timeout, self.retry = timeout, retry
        self.max_body = max_body
        """Bytes, or None for no limit."""
        self.request_edits, self.response_edits = request_edits, response_edits
        # set by others
        self.admit: tuple[Admit, ...] = () if redirect is None else (self.lead_elsewhere,)
        self.series: dict[str, RouteSeries] = {}

    def __repr__(self) -> str:
        return f"<Route {self.label} -> {self.service or ('redirect' if self.redirect else '{service}')}>"

    @property
    def scopes(self) -> tuple[str, ...]:
        """What a subject needs to be allowed; compiled into `admit`."""
        return tuple(self.view["scopes"])

    @property
    def by_name(self) -> bool:
        """The last segment of the prefix is the service's name."""
        return self._name_at > 0

    @property
    def head(self) -> bytes:
        """The literal part of its prefix, with a slash at its end."""
        return self.prefix[: self._name_at] if self._name_at else self.prefix + b"/"

    def service_of(self, path: bytes) -> str:
        """The service that a matched path belongs to, in lower case; empty for a redirect."""
        if self.service is not None:
            return self.service
        if not self._name_at:
            return ""
        end = path.find(b"/", self._name_at)
        return (path[self._name_at :] if end < 0 else path[self._name_at : end]).lower().decode()

    def forward_path(self, path: bytes) -> bytes:
        """A matched path as the service gets it: the prefix stripped, another one added."""
        if self._strip:
            if self._name_at:
                end = path.find(b"/", self._name_at)
                path = b"/" if end < 0 else path[end:]
            else:
                path = path[self._strip_at :] or b"/"
        return self._add + path if self._add else path

    def split(self, path: bytes) -> tuple[str, bytes]:
        """`service_of` and `forward_path` of a matched path at once: both need the end of the name."""
        if not (self._strip and self._name_at):
            return self.service_of(path), self.forward_path(path)
        end = path.find(b"/", self._name_at)
        name, path = (path[self._name_at :], b"/") if end < 0 else (path[self._name_at : end], path[end:])
        return name.lower().decode(), self._add + path if self._add else path

    def is_public(self, path: bytes) -> bool:
        """Whether a matched path needs no token, whatever `auth` says."""
        return self.public is not None and path in self.public

    def meets_headers(self, lines: list[bytes]) -> bool:
        """Whether a request's fields, flattened from slot 1 on as `head.RequestHead` keeps them, meet all conditions."""
        return all(
            any(lines[index + 2] == value and lines[index].lower() == name for index in range(1, len(lines), 4))
            for name, value in self.headers
        )

    def lead_elsewhere(self, exchange: Any) -> GatewayError | None:
        """The last policy of a redirect."""
        if self.redirect is None:
            return None
        target = exchange.target
        location = self.redirect.location(self.forward_path(target.path), target.query)
        return REDIRECTS[self.redirect.status](headers=b"Location: %b\r\n" % location)


def make_edits(replaced: Mapping[str, str], added: Mapping[str, str], removed: tuple[str, ...]) -> HeaderEdits | None:
    """Compile ``{set, add, remove}``; None if there is nothing to do."""
    dropped = frozenset(name.encode().translate(AS_VARIABLE) for name in (*replaced, *removed))
    lines = b"".join(f"{name}: {value}\r\n".encode("latin-1") for edits in (replaced, added) for name, value in edits.items())
    names = frozenset(name.lower().encode() for name in (*replaced, *added))
    return HeaderEdits(dropped, lines, names) if dropped or lines else None
