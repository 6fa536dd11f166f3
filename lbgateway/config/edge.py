"""What happens between client and route beside balancing: CORS, cache, compression, OAuth, SPA."""

from typing import Literal

from lbgateway.config.fields import HeaderName, PositiveDuration, Prefix, ServiceName, Size, Text
from lbgateway.config.section import Section


class CorsSettings(Section):
    allow_origins: tuple[Text, ...] = ()
    allow_origin_regex: Text | None = None
    allow_methods: tuple[Text, ...] = ("*",)
    allow_headers: tuple[Text, ...] = ("*",)
    allow_credentials: bool = False
    expose_headers: tuple[HeaderName, ...] = ()
    max_age: PositiveDuration = 600.0


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
    directory: Text
    index: Text = "index.html"
