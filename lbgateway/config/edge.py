"""What happens between client and route beside balancing: CORS, cache, compression, OAuth, SPA."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from lbgateway.config.fields import Folder, HeaderName, HeaderValue, Method, PositiveDuration, Prefix, ServiceName, Size, Text
from lbgateway.config.section import Section

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._\[\]:-]+")


def _origin(value: str) -> str:
    """As browsers send it (RFC 6454, 6.2), or ``*``."""
    if value != "*" and not _ORIGIN.fullmatch(value):
        raise ValueError("must be * or an origin as browsers send it: https://app.example, lower case, no path, no slash at the end")
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value.encode("ascii"))
    except (re.error, UnicodeEncodeError) as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return value


def _name(value: str) -> str:
    if not value or value.startswith(("/", ".")) or "/." in value or "\\" in value:
        raise ValueError("must be the name of a file inside of the directory")
    return value


def _off(value: object) -> object:
    """``false`` switches a feature off like null does."""
    return None if value is False or value in ("false", "no", "off") else value


def _map_of(value: object) -> object:
    """A switch, or a map over what it switches on; null in place of a map means that nothing is different."""
    if value in (None, True) or value in ("true", "yes", "on"):
        return {}
    return _off(value)


Origin = Annotated[Text, AfterValidator(_origin)]
All = Literal["*"]


class CorsSettings(Section):
    """``"*"`` in a list allows all. ``allow_origin_regex`` must match the whole origin. Seconds."""

    allow_origins: tuple[Origin, ...] = ()
    allow_origin_regex: Annotated[Text, AfterValidator(_pattern)] | None = None
    allow_methods: tuple[All | Method, ...] = ("*",)
    allow_headers: tuple[All | HeaderName, ...] = ("*",)
    allow_credentials: bool = False
    expose_headers: tuple[HeaderName, ...] = ()
    max_age: PositiveDuration = 600.0


Cors = Annotated[CorsSettings | None, BeforeValidator(_off)]
SecurityHeaders = Annotated[
    dict[HeaderName, HeaderValue | None] | None,
    BeforeValidator(_map_of),
    PlainSerializer(lambda fields: fields or fields is not None),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "object", "additionalProperties": {"type": ["string", "null"]}}]}),
]
"""``true`` reads as an empty map, ``false`` as None. A map goes over the defaults; null takes a field away."""


class CacheSettings(Section):
    store: Text = "memory"
    max_size: Size = 64 * 2**20


class CompressionSettings(Section):
    min_size: Size = 1024
    types: tuple[Text, ...] = ()
    algorithms: tuple[Literal["zstd", "br", "gzip"], ...] = ("zstd", "br", "gzip")


class OauthSettings(Section):
    prefix: Prefix = "/oauth"
    service: ServiceName


class SpaSettings(Section):
    """``index`` is a name inside of ``directory``."""

    directory: Folder
    index: Annotated[Text, AfterValidator(_name)] = "index.html"
