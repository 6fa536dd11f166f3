"""``auth``: who must show a token, and how a token is checked."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, model_validator

from lbgateway.config.fields import Cookie, Duration, PositiveDuration, Prefix, ServiceName, Text, Url, UrlPath, free_header
from lbgateway.config.public_key import PublicKey
from lbgateway.config.route import AuthMode
from lbgateway.config.secret import Secret, from_file
from lbgateway.config.section import Section
from lbgateway.config.shapes import CLAIMS, HEADER_NAME, ONE_OR_MANY, STORE, shaped
from lbgateway.config.store_address import parse_store
from lbgateway.config.visible import Named

Algorithm = Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


FORWARD_CLAIMS = {"sub": "X-User-Id", "scope": "X-User-Scope"}
CREDENTIALS = frozenset(("authorization", "cookie", "expect", "origin", "proxy-authorization", "x-gateway-explain"))
"""Names of what clients say themselves, and must be able to."""


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _some(value: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if value is not None and not value:
        raise ValueError("names nobody: no token is for nobody; leave the key out to take those for anybody")
    return value


def _with_built_in(value: object) -> object:
    """Maps merge key by key; null takes a built-in claim away."""
    if value is not None and not isinstance(value, dict):
        return value
    return {claim: header for claim, header in {**FORWARD_CLAIMS, **(value or {})}.items() if header is not None}


class PublicPaths(Section):
    """Matched on the normalised path, before any prefix is stripped; prefixes match whole segments."""

    exact: tuple[UrlPath, ...] = ()
    prefixes: tuple[Prefix, ...] = ()


class JwtSettings(Section):
    """``leeway`` in seconds, for clocks that differ. ``audience``: a token needs one of them.

    Where nothing is said of ``algorithms``, a `secret` means HS256, and any other key RS256.
    """

    algorithms: tuple[Algorithm, ...] = ("HS256",)
    jwks_url: Url | None = None
    public_key: PublicKey | None = None
    secret: Secret | None = None
    issuer: Named | None = None
    audience: Annotated[tuple[Named, ...] | None, BeforeValidator(_one_or_many), AfterValidator(_some), shaped(ONE_OR_MANY)] = None
    leeway: Duration = 30.0
    required_claims: tuple[Named, ...] = ("exp",)
    cookie: Cookie | None = None

    @model_validator(mode="before")
    @classmethod
    def _usual_algorithm(cls, value: object) -> object:
        if isinstance(value, dict) and "algorithms" not in value and value.get("secret") is None:
            others = {"jwks_url", "public_key"} & value.keys()
            return {**value, "algorithms": ["RS256"]} if others else value
        return value


def _store(value: str) -> str:
    parse_store(value)
    return value


class SessionSettings(Section):
    """``store`` or ``url``. ``cache`` in seconds: so long it may take until a session that has been ended is noticed."""

    store: Annotated[Text, BeforeValidator(from_file), AfterValidator(_store), shaped(STORE)] | None = None
    url: Url | None = None
    key_prefix: Text = "session:"
    cookie: Cookie = "sid"
    claim: Named = "sid"
    cache: PositiveDuration = 10.0


class IntrospectionSettings(Section):
    """``client_id`` and ``client_secret``: the gateway's own at a service that asks who is asking (RFC 7662, section 2.1); both or none."""

    service: ServiceName
    path: UrlPath = "/validate"
    client_id: Named | None = None
    client_secret: Secret | None = None
    cache: PositiveDuration = 10.0


def _claims_header(value: str) -> str:
    """One that nobody else has a use for: a client's own field of that name is dropped."""
    value = free_header(value)
    if value.lower() in CREDENTIALS:
        raise ValueError(f"{value} is read by the gateway itself, and cannot carry a claim")
    return value


ClaimsHeader = Annotated[Text, AfterValidator(_claims_header), shaped(HEADER_NAME)]


class AuthSettings(Section):
    """``forward_claims``: claim name to the header that carries it to services."""

    default: AuthMode = "required"
    options_public: bool = True
    public_paths: PublicPaths = PublicPaths()
    jwt: JwtSettings | None = None
    session: SessionSettings | None = None
    introspection: IntrospectionSettings | None = None
    forward_claims: Annotated[dict[Named, ClaimsHeader], BeforeValidator(_with_built_in), shaped(CLAIMS)] = FORWARD_CLAIMS

    @property
    def verifies(self) -> bool:
        """There is something that can accept a token."""
        return not (self.jwt is None and self.session is None and self.introspection is None)

    @property
    def asked_services(self) -> tuple[str, ...]:
        """Services that the gateway itself asks."""
        return () if self.introspection is None else (self.introspection.service,)
