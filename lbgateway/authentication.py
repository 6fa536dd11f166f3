"""Who checks credentials, put together from settings, and what of it outlives a reload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lbgateway.calls import WITHIN_S, ServiceTransport
from lbgateway.config.public_key import HMAC
from lbgateway.jwks import Jwks
from lbgateway.policies.authority import Authority, AuthorityRules
from lbgateway.policies.checks import Checks
from lbgateway.policies.claims import ClaimRules
from lbgateway.policies.introspection import TokenConfirmed
from lbgateway.policies.jwt_auth import JwtAuth
from lbgateway.policies.keys import Key
from lbgateway.policies.session_auth import SessionAuth
from lbgateway.policies.token_verifier import MISSING, TokenRules, TokenVerifier

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from lbgateway.authorities.asking import Asking
    from lbgateway.config import Settings
    from lbgateway.config.auth import AuthSettings, JwtSettings, SessionSettings
    from lbgateway.dataplane.plane import DataPlane


class Prepared(NamedTuple):
    """What new settings need, made but not started. `checks` is None where nobody is asked."""

    settings: AuthSettings
    checks: Checks | None = None
    jwks: Jwks | None = None
    session: Asking | None = None
    introspection: Asking | None = None

    @property
    def verifier(self) -> TokenVerifier | None:
        """Of ``auth.jwt``."""
        token = self.checks.token if self.checks is not None else None
        return token.verifier if token is not None and isinstance(token.verifier, TokenVerifier) else None

    @property
    def sources(self) -> list[Jwks | Asking]:
        """Whatever is started, and closed in the end."""
        return [each for each in (self.jwks, self.session, self.introspection) if each is not None]


class Authentication:
    """The checkers in force. A reload that leaves ``auth`` as it is leaves them, and all that they remember, too.

    `plane` has the services that may be asked.
    """

    def __init__(self, count_failure: Callable[[str], None], plane: DataPlane) -> None:
        self._count_failure = count_failure
        self._services = ServiceTransport(plane)
        self._started = False
        self.in_force: Prepared | None = None

    @property
    def jwks(self) -> Jwks | None:
        """The source of published keys in force."""
        return self.in_force.jwks if self.in_force is not None else None

    def authorities(self) -> dict[str, Asking]:
        """Whoever is asked about credentials, by the name that ``/health`` gives it."""
        made = self.in_force
        named = {} if made is None else {"session": made.session, "introspection": made.introspection}
        return {name: asking for name, asking in named.items() if asking is not None}

    def prepare(self, settings: AuthSettings) -> Prepared:
        """What `settings` ask for. Changes nothing yet."""
        before = self.in_force
        if before is not None and before.settings == settings:
            return before
        if not settings.verifies:
            return Prepared(settings)
        jwks = self._jwks(settings)
        session, introspection = self._session(settings), self._introspection(settings)
        return Prepared(settings, self._checks(settings, jwks, session, introspection), jwks, session, introspection)

    def apply(self, prepared: Prepared) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """Put it in force; returns what closes that which is not needed any more."""
        before, self.in_force = self.in_force, prepared
        verifier = prepared.verifier
        if prepared.jwks is not None and verifier is not None:
            prepared.jwks.on_change = lambda taken_away: verifier.forget(all_tokens=taken_away)
        if self._started:
            self.start()
        kept = prepared.sources
        needless = [each for each in (before.sources if before is not None else ()) if each not in kept]
        return [each.aclose if isinstance(each, Jwks) else each.retire for each in needless]

    def reach(self, settings: Settings) -> None:
        """Services are reached as these settings say, tags and the store's part included."""
        given = settings.auth.introspection
        self._services.lead_to(settings, given.service if given is not None else None, WITHIN_S)

    def start(self) -> None:
        """Begin to fetch keys, and to see who answers."""
        self._started = True
        for source in self.in_force.sources if self.in_force is not None else ():
            source.start()

    async def aclose(self) -> None:
        for source in self.in_force.sources if self.in_force is not None else ():
            await source.aclose()

    def _checks(self, settings: AuthSettings, jwks: Jwks | None, session: Asking | None, introspection: Asking | None) -> Checks:
        jwt, token, confirmation = settings.jwt, None, None
        cookie = jwt.cookie.encode() if jwt is not None and jwt.cookie is not None else None
        if jwt is not None:
            token = JwtAuth(TokenVerifier(token_rules(settings), self._count_failure, jwks), cookie)
        if introspection is not None and settings.introspection is not None:
            rules = AuthorityRules(settings.introspection.cache, settings.forward_claims, subject_needed=False, missing=MISSING)
            authority = Authority(introspection.begin, rules, self._count_failure)
            if token is None:
                token = JwtAuth(authority)
            else:
                confirmation = TokenConfirmed(authority, cookie)
        return Checks(token, confirmation, self._session_auth(settings, session, alone=token is None))

    def _session_auth(self, settings: AuthSettings, asking: Asking | None, *, alone: bool) -> SessionAuth | None:
        given = settings.session
        if given is None or asking is None:
            return None
        missing = f"A session is needed: the cookie {given.cookie}" + ("" if alone else f", or the claim {given.claim} of the token")
        # Whoever answers with 200 has said yes; what lies in a store may be the cart of somebody who has not logged in.
        rules = AuthorityRules(given.cache, settings.forward_claims, alone and given.store is not None, missing)
        return SessionAuth(Authority(asking.begin, rules, self._count_failure), given.cookie.encode(), given.claim)

    def _jwks(self, settings: AuthSettings) -> Jwks | None:
        url = settings.jwt.jwks_url if settings.jwt is not None else None
        known = self.jwks
        return known if known is not None and known.url == url else Jwks(url) if url is not None else None

    def _session(self, settings: AuthSettings) -> Asking | None:
        given, before = settings.session, self.in_force
        if given is None:
            return None
        if before is not None and before.session is not None and before.settings.session == given:
            return before.session
        return _asking_about_sessions(given)

    def _introspection(self, settings: AuthSettings) -> Asking | None:
        given, before = settings.introspection, self.in_force
        if given is None:
            return None
        if before is not None and before.introspection is not None and before.settings.introspection == given:
            return before.introspection
        from lbgateway.authorities.questions import Introspection  # noqa: PLC0415 a gateway that asks nobody starts without the breaker

        client = (given.client_id, given.client_secret.reveal()) if given.client_id and given.client_secret else None
        return Introspection(f"http://{given.service}{given.path}", self._services, client).asking


def _asking_about_sessions(given: SessionSettings) -> Asking:
    if given.store is not None:
        from lbgateway.authorities.redis_sessions import RedisSessions  # noqa: PLC0415 a gateway without a Redis starts without its client

        return RedisSessions(given.store, given.key_prefix).asking
    from lbgateway.authorities.questions import SessionService  # noqa: PLC0415 a gateway that asks nobody starts without the breaker

    assert given.url is not None
    return SessionService(given.url, given.cookie).asking


def token_rules(settings: AuthSettings) -> TokenRules:
    """``auth`` as the verifier takes it; ``auth.jwt`` must be there."""
    jwt = settings.jwt
    assert jwt is not None
    audience = frozenset(jwt.audience) if jwt.audience is not None else None
    return TokenRules(
        algorithms=frozenset(jwt.algorithms),
        keys=_configured_keys(jwt),
        claims=ClaimRules(jwt.issuer, audience, jwt.leeway, jwt.required_claims),
        forwarded=settings.forward_claims,
    )


def _configured_keys(jwt: JwtSettings) -> tuple[Key, ...]:
    wanted = frozenset(jwt.algorithms)
    keys = []
    if jwt.secret is not None:
        keys.append(Key(None, wanted & frozenset(HMAC), jwt.secret.reveal()))
    if jwt.public_key is not None:
        keys.append(Key(None, wanted & jwt.public_key.algorithms, jwt.public_key.material))
    return tuple(keys)
