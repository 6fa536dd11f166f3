"""``lbgateway token``: a token signed with the configured secret, for trying things out."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import jwt

from lbgateway.cli import FINE, NO, WRONG_USAGE
from lbgateway.config import ConfigErrors, load
from lbgateway.config.public_key import HMAC
from lbgateway.config.units import parse_duration

if TYPE_CHECKING:
    from argparse import Namespace

    from lbgateway.config.auth import JwtSettings


def main(args: Namespace) -> int:
    """Print the token, and nothing else, to stdout; everything that goes wrong to stderr."""
    try:
        ttl_s = parse_duration(args.ttl)
    except ValueError as error:
        return _say(f"--ttl: {error}", WRONG_USAGE)
    if not ttl_s:
        return _say("--ttl: a token that is over at once is of no use", WRONG_USAGE)
    try:
        settings = load(args.config, os.environ)
    except ConfigErrors as problem:
        return _say(f"the configuration has errors:\n{problem}", NO)
    if settings.auth.jwt is None:
        return _say(f"{args.config} has no auth.jwt: add `auth: {{jwt: {{secret: ${{JWT_SECRET}}}}}}`, then tokens can be signed", NO)
    if settings.auth.jwt.secret is None:
        return _say(f"{args.config} has no auth.jwt.secret: whoever has the private key signs tokens, the gateway only checks them", NO)
    token = sign(settings.auth.jwt, subject=args.subject, scope=args.scope, ttl_s=ttl_s, now_s=time.time())
    missing = [claim for claim in settings.auth.jwt.required_claims if claim not in claims_of(token)]
    if missing:
        _say(f"warning: the gateway will refuse this token, it requires the claim {', '.join(missing)}", FINE)
    print(json.dumps({"token": token, "claims": claims_of(token)}, indent=2, ensure_ascii=False) if args.json else token)
    return FINE


def sign(settings: JwtSettings, *, subject: str, scope: str | None, ttl_s: float, now_s: float) -> str:
    """A token that the gateway with these settings accepts from `now_s` (Unix seconds) on, for `ttl_s` seconds."""
    assert settings.secret is not None
    claims: dict[str, Any] = {"sub": subject, "iat": int(now_s), "exp": int(now_s + ttl_s)}
    if scope:
        claims["scope"] = scope
    if settings.issuer:
        claims["iss"] = settings.issuer
    if settings.audience:
        claims["aud"] = settings.audience[0]
    algorithm = next(name for name in settings.algorithms if name in HMAC)
    return jwt.encode(claims, settings.secret.reveal(), algorithm=algorithm)


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a token of our own, unverified."""
    return dict(jwt.decode(token, options={"verify_signature": False}))


def _say(message: str, code: int) -> int:
    print(f"lbgateway token: {message}", file=sys.stderr)
    return code
