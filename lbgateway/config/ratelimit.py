"""``rate_limit``: how often who may call."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from lbgateway.config.fields import Count, PositiveDuration, Text
from lbgateway.config.section import Section

_STORES = ("redis://", "rediss://", "redis+sentinel://", "redis+cluster://")


def _store(value: str) -> str:
    if value != "memory" and not value.startswith(_STORES):
        raise ValueError("must be memory or an address beginning with " + ", ".join(_STORES))
    return value


class LimitSettings(Section):
    """``requests`` per ``per`` seconds; an omitted ``burst`` equals ``requests``."""

    requests: Count
    per: PositiveDuration = 1.0
    burst: Count | None = None
    key: Text = "client"


class RateLimitSettings(Section):
    """Off in this version: ``enabled`` is false unless written, and true is refused."""

    enabled: bool = False
    store: Annotated[Text, AfterValidator(_store)] = "memory"
    on_store_failure: Literal["local", "open", "closed"] = "local"
    default: LimitSettings | None = None
