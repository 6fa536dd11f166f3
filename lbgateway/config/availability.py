"""What of the contract this version does not do yet. One row leaves with each feature that arrives.

A key or value listed here is refused, never accepted and ignored, unless it says that the feature
is off. In a row's path ``*`` is any key and ``[]`` any item of a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lbgateway.config.document import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lbgateway.config.errors import KeyPath

    Refuses = Callable[[object], bool]
    """True for a value whose feature is not built."""

MESSAGE = "not available in this version"


def on(value: object) -> bool:
    """Anything but null, false (however it is spelled), an empty list or an empty map."""
    return value not in (None, [], {}) and str(text_of(value)).lower() not in ("false", "no", "off")


def _true(value: object) -> bool:
    return value is True or str(text_of(value)).lower() in ("true", "yes", "on", "1")


@dataclass(frozen=True, slots=True)
class Given:
    """One of these values; unknown ones are left to the schema, which knows what they were meant to be."""

    values: tuple[str, ...]

    def __call__(self, value: object) -> bool:
        return text_of(value) in self.values


def _given(*values: str) -> Given:
    return Given(values)


def _not(*harmless: str) -> Refuses:
    """Any value but these, which change nothing, and those that mean off."""
    return lambda value: on(value) and text_of(value) not in harmless


def _unless(key: str, *values: str) -> Refuses:
    """A map, unless its own `key` switches it off."""
    return lambda value: on(value) and not (isinstance(value, dict) and text_of(value.get(key)) in values)


def _several(value: object) -> bool:
    return value == "auto" or (isinstance(value, int) and value > 1)


def _not_false(value: object) -> bool:
    """For a key that is on by default: even an empty map would mean that it is wanted."""
    return value in (None, [], {}) or on(value)


ZERO = ("0", "0.0", "0s", "0ms", "0m", "0h")

ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
FULL_RETRY = ("timeout", "malformed", "500", "502", "503", "504")

ROWS: tuple[tuple[str, Refuses], ...] = (
    ("server.workers", _several),
    ("server.tls", on),
    ("server.proxy_protocol", on),
    ("server.deadline_header", on),
    ("discovery.provider", _given("file", "dns")),
    ("discovery.file", on),
    ("discovery.dns", on),
    ("discovery.consul.failover_datacenters", on),
    ("discovery.consul.snapshot", on),
    ("discovery.consul.routes_from_tags", on),
    ("discovery.consul.allow_tag_keys", on),
    ("discovery.consul.tag_prefixes", on),
    ("discovery.consul.feedback", on),
    ("discovery.consul.config_key", on),
    ("discovery.consul.register", on),
    ("services.*.scheme", _given("https")),
    ("services.*.transport", _given("httpx")),
    ("services.*.tls", on),
    ("services.*.balancer", _given("ring_hash", "maglev", "rendezvous", "prequal")),
    ("services.*.hash_on", on),
    ("services.*.sticky", on),
    ("services.*.zone_aware", on),
    ("services.*.slow_start", _not(*ZERO)),
    ("services.*.probe_path", on),
    ("services.*.panic_threshold", _not(*ZERO)),
    ("services.*.subsets", on),
    ("services.*.tiers", on),
    ("services.*.health_check", on),
    ("services.*.outlier", _unless("max_ejected", *ZERO)),
    ("services.*.breaker", on),
    ("services.*.limits.max_active", on),
    ("services.*.limits.max_pending", on),
    ("services.*.limits.max_connections", on),
    ("services.*.limits.adaptive", on),
    ("services.*.retry.on[]", _given(*FULL_RETRY)),
    ("services.*.retry.budget", on),
    ("services.*.retry.min_per_second", on),
    ("services.*.retry.backoff", on),
    ("services.*.retry.per_try_timeout", on),
    ("services.*.hedge", on),
    ("services.*.mirror", on),
    ("routes[].scopes", on),
    ("routes[].rate_limit", on),
    ("routes[].cors", on),
    ("routes[].cache", on),
    ("routes[].retry.on[]", _given(*FULL_RETRY)),
    ("routes[].retry.budget", on),
    ("routes[].retry.min_per_second", on),
    ("routes[].retry.backoff", on),
    ("routes[].retry.per_try_timeout", on),
    ("auth.jwt.algorithms[]", _given(*ASYMMETRIC)),
    ("auth.jwt.jwks_url", on),
    ("auth.jwt.public_key", on),
    ("auth.jwt.cookie", on),
    ("auth.session", on),
    ("auth.introspection", on),
    ("rate_limit.enabled", _true),
    ("rate_limit.store", _not("memory")),
    ("rate_limit.on_store_failure", on),
    ("rate_limit.default", on),
    ("cors", on),
    ("security_headers", _not_false),
    ("cache", on),
    ("compression", on),
    ("oauth", on),
    ("spa", on),
    ("admin.listen", on),
    ("logging.sample", _not("1", "1.0")),
    ("plugins", on),
    ("tracing", on),
)


def unavailable(root: dict[str, object]) -> Iterator[tuple[KeyPath, str]]:
    """Every key of a document whose feature is not built, with what to say about it."""
    limits_off = _switched_off(root)
    for pattern, refuses in ROWS:
        if limits_off and pattern.startswith("rate_limit."):
            continue
        for path, value in _matching(root, _steps(pattern), ()):
            if refuses(value):
                yield path, f"`{value}` is {MESSAGE}" if isinstance(refuses, Given) else MESSAGE


def without_off(root: dict[str, object]) -> dict[str, object]:
    """A copy in which keys of features that are not built and say "off" are left out.

    The defaults are off, and say it truthfully: ``session: {}`` would otherwise become a session with all its defaults.
    """
    kept = _copy(root)
    for pattern, refuses in ROWS:
        *around, key = _steps(pattern)
        if key == "[]" or isinstance(refuses, Given):
            continue
        for _, holder in list(_matching(kept, around, ())):
            if isinstance(holder, dict) and key in holder and not on(holder[key]):
                del holder[key]
    assert isinstance(kept, dict)
    return kept


def _copy(value: object) -> object:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def offered(path: KeyPath, values: list[str]) -> list[str]:
    """Those of the allowed `values` of a key that this version can do, for advice."""
    steps = ["[]" if isinstance(step, int) else step for step in path]
    for pattern, refuses in ROWS:
        wanted = _steps(pattern)
        if len(wanted) == len(steps) and all(want in (step, "*") for want, step in zip(wanted, steps, strict=True)):
            return [value for value in values if not refuses(value)]
    return values


def _switched_off(root: dict[str, object]) -> bool:
    """``rate_limit.enabled: false`` makes the keys beside it harmless."""
    section = root.get("rate_limit")
    return isinstance(section, dict) and section.get("enabled") is False


def _steps(pattern: str) -> list[str]:
    return pattern.replace("[]", ".[]").split(".")


def _matching(value: object, steps: list[str], path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    if not steps:
        yield path, value
    elif steps[0] == "[]" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _matching(item, steps[1:], (*path, index))
    elif isinstance(value, dict):
        for key in value if steps[0] == "*" else (steps[0],):
            if key in value:
                yield from _matching(value[key], steps[1:], (*path, key))
