"""Which settings a service may bring along in its tags: the keys of a route and of a service, as ``timeout.response``.

`HARMLESS` ones concern nobody but the service itself. Others (who may come in, for one) an operator
allows by ``discovery.consul.allow_tag_keys``. Some are never a service's to say.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final, Literal, get_args, get_origin

from lbgateway.config.errors import did_you_mean
from lbgateway.config.route import RouteSettings
from lbgateway.config.section import Section
from lbgateway.config.service import ServiceSettings, TimeoutSettings

ROUTE_KEYS: Final = ("prefix", "host", "methods", "strip_prefix", "add_prefix")
SERVICE_KEYS: Final = (
    "balancer",
    "hash_on",
    "slow_start",
    "probe_path",
    "retry.attempts",
    *(f"timeout.{key}" for key in TimeoutSettings.model_fields if key != "pool_idle"),
)
HARMLESS: Final = frozenset((*ROUTE_KEYS, *SERVICE_KEYS))
NEVER: Final = frozenset((
    "service", "redirect", "headers", "request_headers", "response_headers", "instances", "subsets", "tiers", "tls", "mirror",
    "breaker.fallback", "scheme", "transport", "httpx",
))  # fmt: skip
"""A tag's route leads to the service that has the tag, and nowhere else; maps and lists of maps have no spelling in a tag. How a
service is reached is one decision in several keys, and they must fit together."""


@cache
def tag_keys() -> dict[str, Literal["route", "service"]]:
    """Every key that can be allowed, and whose it is. `timeout` and `retry` are the service's: its other routes have them, too."""
    found: dict[str, Literal["route", "service"]] = dict.fromkeys(_keys(RouteSettings), "route")
    return found | dict.fromkeys(_keys(ServiceSettings), "service")


def _keys(kind: type[Section], above: str = "") -> Iterator[str]:
    for name, info in kind.model_fields.items():
        if above + name in NEVER:
            continue
        inner = next((part for part in (info.annotation, *get_args(info.annotation)) if _is_section(part)), None)
        if inner is not None:
            yield from _keys(inner, f"{above}{name}.")
        elif get_origin(info.annotation) is not dict:
            yield above + name


def _is_section(part: object) -> bool:
    return isinstance(part, type) and get_origin(part) is None and issubclass(part, Section)


def allowed(key: str, granted: Iterable[str]) -> bool:
    """Whether a service may set `key`; a granted one stands for all below it."""
    return key in HARMLESS or any(key == one or key.startswith(f"{one}.") for one in granted)


def grantable(key: str) -> str:
    """A key for ``allow_tag_keys``; `ValueError` if there is none like it."""
    keys = tag_keys()
    if key in keys or any(one.startswith(f"{key}.") for one in keys):
        return key
    if key.partition(".")[0] in NEVER:
        raise ValueError(f"`{key}` can never be set by a tag")
    raise ValueError(f"no setting of a route or service has the name `{key}`{did_you_mean(key, list(keys))}")
