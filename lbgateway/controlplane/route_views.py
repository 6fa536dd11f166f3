"""Routes, and the key that some come from, as operators see them."""

from __future__ import annotations

from typing import Any, TypedDict


class LimitView(TypedDict):
    """How often who may use a route; `key` says who is counted."""

    requests: int
    per_seconds: float
    burst: int
    key: str
    shared: bool
    """One limit over all routes that say nothing of their own."""


class RouteView(TypedDict):
    """One compiled route, where it came from, and what is wrong with it, if anything."""

    host: str | None
    prefix: str
    methods: list[str] | None
    headers: dict[str, str]
    service: str | None
    strip_prefix: bool
    add_prefix: str | None
    redirect: dict[str, Any] | None
    auth: str
    scopes: list[str]
    limit: LimitView | None
    cors: list[str] | None
    """The origins whose pages may call; null without CORS."""
    source: str
    """``built-in``, ``file``, ``kv`` or ``tags``."""
    error: str | None
    """Why it is disabled; with `tag`, why that one is not in force."""
    tag: str | None
    """A tag of the service that this line is about, while its route may be fine."""


class ConfigKeyView(TypedDict):
    """The key of the registry's store that holds a part of the configuration."""

    key: str
    state: str
    """``unknown``, ``absent``, ``applied``, ``refused``, or ``kept``: what was good before stays in force."""
    error: str | None
