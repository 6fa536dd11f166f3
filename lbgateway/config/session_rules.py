"""``auth.session`` and ``auth.introspection``: whether they say whom to ask. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lbgateway.config.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lbgateway.config.auth import AuthSettings, IntrospectionSettings, SessionSettings
    from lbgateway.config.errors import KeyPath

LOOPBACK = ("127.0.0.1", "::1", "localhost")
HERE: KeyPath = ("auth", "session")


def check_session(session: SessionSettings) -> Iterator[tuple[KeyPath, str]]:
    """What cannot work."""
    if session.store is None and session.url is None:
        yield HERE, "needs to know where sessions are: a `store`, such as redis://127.0.0.1:6379/0, or the `url` of a service"
    elif session.store is not None and session.url is not None:
        yield HERE, "has a `store` and a `url`: only one can have the last word"
    elif session.url is not None and "key_prefix" in session.model_fields_set:
        yield (*HERE, "key_prefix"), "is for a `store`, and these sessions are asked for at a `url`"


def check_cookies(auth: AuthSettings) -> Iterator[tuple[KeyPath, str]]:
    """One cookie cannot be a token and the name of a session."""
    if auth.jwt is not None and auth.session is not None and auth.jwt.cookie == auth.session.cookie:
        yield ("auth", "jwt", "cookie"), f"is the cookie of auth.session, too ({auth.session.cookie}): no token is the name of a session"


def check_introspection(auth: AuthSettings, known: Sequence[str]) -> Iterator[tuple[KeyPath, str]]:
    """A service that nobody knows; `known`: all there are."""
    name = auth.introspection.service if auth.introspection is not None else None
    if name is not None and name not in known:
        yield ("auth", "introspection", "service"), f"no service has the name `{name}`{did_you_mean(name, known)}"


def check_client(introspection: IntrospectionSettings) -> Iterator[tuple[KeyPath, str]]:
    """Half of a name and its secret."""
    given = {"client_id": introspection.client_id, "client_secret": introspection.client_secret}
    for name, other in (("client_id", "client_secret"), ("client_secret", "client_id")):
        if given[name] is not None and given[other] is None:
            yield ("auth", "introspection", name), f"needs {other} beside it"


def warn_session(session: SessionSettings) -> Iterator[tuple[KeyPath, str]]:
    """What works, but tells others."""
    parts = urlsplit(session.url or "")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        yield (*HERE, "url"), "is asked without TLS: whoever can answer in its place can let everybody in"
