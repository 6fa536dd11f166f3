"""The whole configuration, typed. Built by `loader`; everything else only reads it."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PrivateAttr

from lbgateway.config.auth import AuthSettings
from lbgateway.config.discovery import DiscoverySettings
from lbgateway.config.edge import CacheSettings, CompressionSettings, Cors, CorsSettings, OauthSettings, SecurityHeaders, SpaSettings
from lbgateway.config.fields import Text, service_name
from lbgateway.config.operations import (
    AdminSettings,
    HealthSettings,
    LoggingSettings,
    MetricsSettings,
    TracingSettings,
)
from lbgateway.config.ratelimit import LimitSettings, RateLimitSettings
from lbgateway.config.route import DEFAULT_ROUTE, AuthMode, RouteSettings
from lbgateway.config.secret import MASK
from lbgateway.config.section import Section, merged
from lbgateway.config.server import ServerSettings
from lbgateway.config.service import ServiceSettings

EVERY_SERVICE = "*"
_USERINFO = re.compile(r"://[^/?#\s]*@")
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
    cors: Cors = None
    security_headers: SecurityHeaders = Field(default_factory=dict)
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
    _proxies: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but probably not meant, each as ``FILE:LINE: key.path: sentence``."""
        return self._warnings

    def note(self, warnings: Iterable[str]) -> None:
        """Keep the loader's warnings."""
        self._warnings = tuple(warnings)

    @property
    def proxies(self) -> Mapping[str, str]:
        """Outgoing proxies that the environment names: ``http``, ``https``, ``all``, and ``no`` for the exceptions."""
        return self._proxies

    def surround(self, proxies: Mapping[str, str]) -> None:
        """Keep what the loader has found around the file."""
        self._proxies = proxies

    @property
    def has_default_route(self) -> bool:
        """``routes`` was not given, so there is the built-in ``/api/{service}``."""
        return "routes" not in self.model_fields_set

    @property
    def oauth_route(self) -> RouteSettings | None:
        """What ``oauth`` stands for: a public prefix, forwarded as it is."""
        if self.oauth is None:
            return None
        return RouteSettings(prefix=self.oauth.prefix, service=self.oauth.service, auth="none")

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

    def composed(
        self, routes: tuple[RouteSettings, ...], services: Mapping[str, ServiceSettings], before: "Settings | None" = None
    ) -> "Settings":
        """The same with other routes and services, which must be valid. What `service` has found in `before` is taken over."""
        changed = self.model_copy(update={"routes": routes, "services": dict(services)})
        changed.recall(before.holding_for(services) if before is not None else {})
        return changed

    def recall(self, found: Mapping[str, ServiceSettings]) -> None:
        """Take over what `service` would find."""
        self._merged = dict(found)

    def holding_for(self, services: Mapping[str, ServiceSettings]) -> dict[str, ServiceSettings]:
        """Of what `service` has found, that which would be the same with `services`."""
        if self.services.get(EVERY_SERVICE) is not services.get(EVERY_SERVICE):
            return {}
        return {name: found for name, found in self._merged.items() if self.services.get(name) is services.get(name)}

    @property
    def own_paths(self) -> tuple[str, ...]:
        """What the gateway answers itself: whole segments, with all that is below."""
        return ("/health", "/admin", *((self.metrics.path,) if self.metrics.enabled else ()))

    @property
    def uses_redis(self) -> bool:
        """Something that requests need is kept in one."""
        session = self.auth.session
        return (self.rate_limit.enabled and self.rate_limit.store != "memory") or (session is not None and session.store is not None)

    def named_services(self) -> list[str]:
        """The services that the file names, sorted, without ``"*"``."""
        return sorted(set(self.services) - {EVERY_SERVICE})

    def route_service(self, route: RouteSettings, name: str) -> ServiceSettings:
        """`service`, with the route's own ``timeout`` and ``retry`` over it."""
        base = self.service(name)
        if not route.model_fields_set & {"timeout", "retry"}:
            return base
        changes = {"timeout": merged(base.timeout, route.timeout), "retry": merged(base.retry, route.retry)}
        return base.model_copy(update=changes)

    def route_max_body(self, route: RouteSettings) -> int | None:
        """Bytes, or None for no limit: the route's word if it has one, else the server's."""
        return route.max_body if "max_body" in route.model_fields_set else self.server.max_body

    def route_cors(self, route: RouteSettings) -> CorsSettings | None:
        """None for no CORS: the gateway's, with the route's own over it key by key; a route's null switches it off."""
        if "cors" not in route.model_fields_set:
            return self.cors
        return None if route.cors is None else merged(self.cors or CorsSettings(), route.cors)

    def route_limit(self, route: RouteSettings) -> LimitSettings | None:
        """None for no limit: the default, with the route's own over it key by key; a route's null switches it off.

        A route that says ``requests`` and no ``burst`` does not inherit one: that of another limit would be no burst of its own.
        """
        if not self.rate_limit.enabled:
            return None
        if "rate_limit" not in route.model_fields_set or route.rate_limit is None:
            return None if "rate_limit" in route.model_fields_set else self.rate_limit.default
        found = merged(self.rate_limit.default or LimitSettings(), route.rate_limit)
        own = route.rate_limit.model_fields_set
        return found.model_copy(update={"burst": None}) if "requests" in own and "burst" not in own else found

    def route_auth(self, route: RouteSettings) -> AuthMode:
        """The route's effective auth."""
        return route.auth or self.auth.default

    def masked(self) -> dict[str, Any]:
        """The effective configuration in the file's own spelling, fit to be shown: no secret in it."""
        names = [EVERY_SERVICE, *self.named_services()]
        effective = self.model_copy(update={"services": {name: self.service(name) for name in names}})
        plain = effective.model_dump(mode="json", by_alias=True)
        plain["routes"] = [_route_shape(route) for route in self.routes]
        shown = _mask(plain)
        assert isinstance(shown, dict)
        return shown


def masked_route(route: RouteSettings) -> dict[str, Any]:
    """One route as `Settings.masked` shows it."""
    shown = _mask(_route_shape(route))
    assert isinstance(shown, dict)
    return shown


def _route_shape(route: RouteSettings) -> dict[str, Any]:
    # Of a route what it says itself: the rest comes from a service that only a request names.
    own = {key: getattr(route, key).model_dump(mode="json", exclude_unset=True) for key in ("timeout", "retry")}
    return route.model_dump(mode="json", by_alias=True) | own


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


def is_under(path: str, prefix: str) -> bool:
    """By whole segments."""
    return path == prefix or path.startswith(prefix + "/")
