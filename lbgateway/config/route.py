"""``routes``: which requests go where, and what is different for them."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator

from lbgateway.config.edge import CacheSettings, Cors
from lbgateway.config.fields import (
    FreeHeader,
    HeaderValue,
    Host,
    Method,
    Prefix,
    Scope,
    ServiceName,
    Size,
    Text,
)
from lbgateway.config.ratelimit import RouteLimit
from lbgateway.config.section import Section
from lbgateway.config.service import RetrySettings, TimeoutSettings

AuthMode = Literal["required", "optional", "none"]
PLACEHOLDER = "{service}"
_BRACES = re.compile(r"[{}]")


def _one_placeholder(prefix: str) -> str:
    head, found, tail = prefix.partition(PLACEHOLDER)
    if _BRACES.search(head + tail):
        raise ValueError("the only placeholder is {service}, once")
    if found and (tail or not head.endswith("/")):
        raise ValueError("{service} must be the whole last segment, as in /api/{service}")
    return prefix


def _location(value: str) -> str:
    """Where a redirect leads: printable ASCII, a path or an http(s) address."""
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be printable ASCII without spaces; escape other characters with %")
    if _BRACES.search(value.replace("{path}", "")):
        raise ValueError("the only placeholder is {path}")
    parts = urlsplit(value)
    absolute = parts.scheme in ("http", "https") and bool(parts.netloc)
    if value.startswith("//") or not (absolute or value.startswith(("/", "{path}"))):
        raise ValueError("must be a path such as /new, or an address such as https://shop.example/new")
    return value


class RedirectSettings(Section):
    """``to`` may contain ``{path}``, the path after stripping; the query is kept."""

    to: Annotated[Text, AfterValidator(_location)]
    status: Literal[301, 302, 303, 307, 308] = 308


class HeaderEdits(Section):
    """``set`` replaces all fields of a name, ``add`` appends one, ``remove`` drops all."""

    set: dict[FreeHeader, HeaderValue] = Field(default_factory=dict)
    add: dict[FreeHeader, HeaderValue] = Field(default_factory=dict)
    remove: tuple[FreeHeader, ...] = ()


class RouteSettings(Section):
    """One route. None means: as the service or the whole gateway has it."""

    host: Host | None = None
    prefix: Annotated[Prefix, AfterValidator(_one_placeholder)] = "/"
    methods: tuple[Method, ...] | None = None
    headers: dict[FreeHeader, HeaderValue] = Field(default_factory=dict)
    service: ServiceName | None = None
    strip_prefix: bool = False
    add_prefix: Prefix | None = None
    auth: AuthMode | None = None
    scopes: tuple[Scope, ...] = ()
    rate_limit: RouteLimit = None
    timeout: TimeoutSettings = TimeoutSettings()
    retry: RetrySettings = RetrySettings()
    cors: Cors = None
    max_body: Size | None = None
    cache: CacheSettings | None = None
    request_headers: HeaderEdits = HeaderEdits()
    response_headers: HeaderEdits = HeaderEdits()
    redirect: RedirectSettings | None = None

    @field_validator("methods")
    @classmethod
    def _some_methods(cls, value: Any) -> Any:
        if value == ():
            raise ValueError("an empty list would match nothing; leave the key out to match all methods")
        return value

    @property
    def by_name(self) -> bool:
        """The service is taken from the path."""
        return self.prefix.endswith(PLACEHOLDER)


DEFAULT_ROUTE = RouteSettings(prefix=f"/api/{PLACEHOLDER}", strip_prefix=True)
