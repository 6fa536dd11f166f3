"""``rate_limit``: how often who may call."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, field_validator

from lbgateway.config.fields import Count, PositiveDuration, Text, free_header
from lbgateway.config.secret import from_file
from lbgateway.config.section import Section
from lbgateway.config.shapes import LIMIT_KEY, STORE, shaped
from lbgateway.config.store_address import SCHEMES, parse_store

_KEY = re.compile(r"client|subject|route|header:(?P<header>.+)|claim:(?P<claim>\S.*)")
NO_REQUESTS = "needs `requests`: so many per `per`"


def _store(value: str) -> str:
    if value != "memory" and "://" not in value:
        raise ValueError("must be memory or an address beginning with " + ", ".join(SCHEMES))
    if value != "memory":
        parse_store(value)
    return value


def _key(value: str) -> str:
    found = _KEY.fullmatch(value)
    if found is None:
        raise ValueError("must be client, subject, route, header:NAME or claim:NAME")
    if found["header"] is not None:
        free_header(found["header"])
    return value


def _off(value: object) -> object:
    """``false`` switches a limit off like null does."""
    return None if value is False or value in ("false", "no", "off") else value


class LimitSettings(Section):
    """``requests`` per ``per`` seconds; an omitted ``burst`` equals ``requests``. A route may leave out what the default says."""

    requests: Count | None = None
    per: PositiveDuration = 1.0
    burst: Count | None = None
    key: Annotated[Text, AfterValidator(_key), shaped(LIMIT_KEY)] = "client"


RouteLimit = Annotated[LimitSettings | None, BeforeValidator(_off)]


class RateLimitSettings(Section):
    """``default`` holds for routes that say nothing, over all of them together."""

    enabled: bool = True
    store: Annotated[Text, BeforeValidator(from_file), AfterValidator(_store), shaped(STORE)] = "memory"
    on_store_failure: Literal["local", "open", "closed"] = "local"
    default: RouteLimit = None

    @field_validator("default")
    @classmethod
    def _complete(cls, value: LimitSettings | None) -> LimitSettings | None:
        if value is not None and value.requests is None:
            raise ValueError(NO_REQUESTS)
        return value
