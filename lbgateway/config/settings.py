"""The whole configuration, typed. Built by `loader`; everything else only reads it."""

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PrivateAttr

from lbgateway.config.auth import AuthSettings
from lbgateway.config.discovery import DiscoverySettings
from lbgateway.config.edge import CacheSettings, CompressionSettings, CorsSettings, OauthSettings, SpaSettings
from lbgateway.config.fields import Text, service_name
from lbgateway.config.operations import (
    AdminSettings,
    HealthSettings,
    LoggingSettings,
    MetricsSettings,
    TracingSettings,
)
from lbgateway.config.ratelimit import RateLimitSettings
from lbgateway.config.route import DEFAULT_ROUTE, AuthMode, RouteSettings
from lbgateway.config.secret import MASK
from lbgateway.config.section import Section, merged
from lbgateway.config.server import ServerSettings
from lbgateway.config.service import ServiceSettings

EVERY_SERVICE = "*"
_USERINFO = re.compile(r"://[^/@\s]*@")
_TELLTALE = re.compile(r"auth|cookie|key|token|secret|password|credential", re.IGNORECASE)


def _service_key(name: str) -> str:
    return name if name == EVERY_SERVICE else service_name(name)


class Settings(Section):
    """The root. Attributes have the names of the contract's keys; durations are seconds, sizes bytes.

    ``services`` holds what was written for each service; `service` gives what is in force.
    """

    server: ServerSettings = ServerSettings()
    discovery: DiscoverySettings = DiscoverySettings()
    services: dict[Annotated[str, AfterValidator(_service_key)], ServiceSettings] = Field(default_factory=dict)
    routes: tuple[RouteSettings, ...] = (DEFAULT_ROUTE,)
    auth: AuthSettings = AuthSettings()
    rate_limit: RateLimitSettings = RateLimitSettings()
    cors: CorsSettings | None = None
    security_headers: bool = False
    cache: CacheSettings | None = None
    compression: CompressionSettings | None = None
    oauth: OauthSettings | None = None
    spa: SpaSettings | None = None
    admin: AdminSettings = AdminSettings()
    health: HealthSettings = HealthSettings()
    logging: LoggingSettings = LoggingSettings()
    metrics: MetricsSettings = MetricsSettings()
    plugins: tuple[Text, ...] = ()
    tracing: TracingSettings | None = None

    _merged: dict[str, ServiceSettings] = PrivateAttr(default_factory=dict)
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but probably not meant, each as ``FILE:LINE: key.path: sentence``."""
        return self._warnings

    def note(self, warnings: Iterable[str]) -> None:
        """Keep the loader's warnings."""
        self._warnings = tuple(warnings)

    @property
    def has_default_route(self) -> bool:
        """``routes`` was not given, so there is the built-in ``/api/{service}``."""
        return "routes" not in self.model_fields_set

    def service(self, name: str) -> ServiceSettings:
        """What is in force for a service (name in lower case): built-in < ``"*"`` < its own, key by key."""
        # One entry for each service of the file and one for all others: names from outside add nothing.
        key = name if name in self.services else EVERY_SERVICE
        found = self._merged.get(key)
        if found is None:
            found = merged(ServiceSettings(), self.services.get(EVERY_SERVICE, ServiceSettings()))
            if key != EVERY_SERVICE:
                found = merged(found, self.services[key])
            self._merged[key] = found
        return found

    def named_services(self) -> list[str]:
        """The services that the file names, sorted, without ``"*"``."""
        return sorted(set(self.services) - {EVERY_SERVICE})

    def route_service(self, route: RouteSettings, name: str) -> ServiceSettings:
        """`service`, with the route's own ``timeout`` and ``retry`` over it."""
        base = self.service(name)
        changes = {"timeout": merged(base.timeout, route.timeout), "retry": merged(base.retry, route.retry)}
        return base.model_copy(update=changes)

    def route_max_body(self, route: RouteSettings) -> int | None:
        """Bytes, or None for no limit: the route's word if it has one, else the server's."""
        return route.max_body if "max_body" in route.model_fields_set else self.server.max_body

    def route_auth(self, route: RouteSettings) -> AuthMode:
        """The route's effective auth."""
        return route.auth or self.auth.default

    def masked(self) -> dict[str, Any]:
        """The effective configuration in the file's own spelling, fit to be shown: no secret in it."""
        names = [EVERY_SERVICE, *self.named_services()]
        effective = self.model_copy(update={"services": {name: self.service(name) for name in names}})
        plain = effective.model_dump(mode="json", by_alias=True)
        for route, shape in zip(self.routes, plain["routes"], strict=True):
            # Of a route what it says itself: the rest comes from a service that only a request names.
            shape |= {key: getattr(route, key).model_dump(mode="json", exclude_unset=True) for key in ("timeout", "retry")}
        shown = _mask(plain)
        assert isinstance(shown, dict)
        return shown


def _mask(value: object) -> object:
    """Hide passwords in addresses, and header values whose name says that they are credentials."""
    if isinstance(value, dict):
        in_headers = {"set", "add"} & value.keys()
        return {key: _mask_headers(item) if key in ("headers", *in_headers) else _mask(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_mask(item) for item in value]
    if isinstance(value, str):
        return _USERINFO.sub(f"://{MASK}@", value)
    return value


def _mask_headers(headers: object) -> object:
    if not isinstance(headers, dict):
        return headers
    return {name: mask_header(name, value) for name, value in headers.items()}


def mask_header(name: str, value: str) -> str:
    """A header's value as it may be shown: masked if the name says that it is a credential."""
    return MASK if _TELLTALE.search(name) else str(_mask(value))
