"""``auth``: who must show a token, and how a token is checked."""

from typing import Annotated, Literal

from pydantic import BeforeValidator

from lbgateway.config.fields import Duration, FreeHeader, PositiveDuration, Prefix, ServiceName, Text, Url, UrlPath
from lbgateway.config.route import AuthMode
from lbgateway.config.secret import Secret
from lbgateway.config.section import Section

Algorithm = Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


FORWARD_CLAIMS = {"sub": "X-User-Id", "scope": "X-User-Scope"}


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


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
    """``leeway`` in seconds, for clocks that differ. ``audience``: a token needs one of them."""

    algorithms: tuple[Algorithm, ...] = ("HS256",)
    jwks_url: Url | None = None
    public_key: Text | None = None
    secret: Secret | None = None
    issuer: Text | None = None
    audience: Annotated[tuple[Text, ...] | None, BeforeValidator(_one_or_many)] = None
    leeway: Duration = 30.0
    required_claims: tuple[Text, ...] = ("exp",)
    cookie: Text | None = None


class SessionSettings(Section):
    store: Text | None = None
    url: Url | None = None
    key_prefix: Text = "session:"
    cookie: Text = "sid"
    claim: Text = "sid"
    cache: PositiveDuration = 10.0


class IntrospectionSettings(Section):
    service: ServiceName
    path: UrlPath = "/validate"
    cache: PositiveDuration = 10.0


class AuthSettings(Section):
    """``forward_claims``: claim name to the header that carries it to services."""

    default: AuthMode = "required"
    options_public: bool = True
    public_paths: PublicPaths = PublicPaths()
    jwt: JwtSettings | None = None
    session: SessionSettings | None = None
    introspection: IntrospectionSettings | None = None
    forward_claims: Annotated[dict[str, FreeHeader], BeforeValidator(_with_built_in)] = FORWARD_CLAIMS

    @property
    def verifies(self) -> bool:
        """There is something that can accept a token."""
        return not (self.jwt is None and self.session is None and self.introspection is None)
