"""``lbgateway routes`` and ``lbgateway upstreams``: what a running gateway says of itself, for people or as JSON."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx

from lbgateway.cli import admin_tables
from lbgateway.controlplane.admin_auth import is_loopback

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

DEFAULT_URL = "http://127.0.0.1:8080"
URL_VARIABLE = "LBGATEWAY_ADMIN_URL"
TOKEN_VARIABLE = "LBGATEWAY_ADMIN_TOKEN"  # noqa: S105 the name of a variable, not its value
TIMEOUT_S = 10.0

_ERRNO = re.compile(r"\[Errno -?\d+\] ")

FINE, NO, WRONG_USAGE = 0, 1, 2


class AdminError(Exception):
    """The sentence to show, and the exit code."""

    def __init__(self, message: str, exit_code: int = NO) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def routes(args: Namespace, *, transport: httpx.BaseTransport | None = None) -> int:
    """Show the compiled routes. `args`: ``admin``, ``token`` (both may be None), ``json``. Returns the exit code."""
    return _show(args, "/admin/routes", admin_tables.routes, transport)


def upstreams(args: Namespace, *, transport: httpx.BaseTransport | None = None) -> int:
    """Show all services with their instances, or one: `args` as for `routes`, and ``service`` (may be None)."""
    if args.service is None:
        return _show(args, "/admin/upstreams", admin_tables.upstreams, transport)
    return _show(args, f"/admin/upstreams/{quote(args.service, safe='')}", admin_tables.upstream, transport)


def _show(
    args: Namespace, path: str, present: Callable[[dict[str, Any]], admin_tables.Page], transport: httpx.BaseTransport | None
) -> int:
    try:
        body = fetch(path, url=args.admin, token=args.token, transport=transport)
    except AdminError as error:
        print(f"lbgateway: {error}", file=sys.stderr)
        return error.exit_code
    if args.json:
        print(json.dumps(body, indent=2, ensure_ascii=False))
    else:
        admin_tables.show(present(body), sys.stdout)
    return FINE


def fetch(path: str, *, url: str | None, token: str | None, transport: httpx.BaseTransport | None = None) -> dict[str, Any]:
    """The JSON object at `path` of the gateway's admin API; `url` and `token` default to the environment.

    Raises `AdminError` with a sentence that says what to do.
    """
    base = base_url(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL)
    token = (token or os.environ.get(TOKEN_VARIABLE) or "").strip()
    headers = {b"authorization": b"Bearer " + token.encode()} if token else {}
    # A proxy from the environment must not be asked for what is on this machine.
    trust_env = not _is_local(base)
    try:
        with httpx.Client(transport=transport, timeout=TIMEOUT_S, trust_env=trust_env) as client:
            answer = client.get(base + path, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise AdminError(_unreachable(base, error)) from error
    if answer.status_code != 200:
        raise AdminError(_refused(base, path, answer, with_token=bool(token)))
    body = _json_object(answer)
    if body is None:
        raise AdminError(f"what answers at {base} is not a lbgateway: it sent no JSON for {path}")
    return body


def base_url(text: str) -> str:
    """The URL without a slash at its end; ``host:port`` alone means http. Raises `AdminError` (wrong usage)."""
    base = (text if "://" in text else f"http://{text}").rstrip("/")
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise AdminError(f'"{text}" is not the address of a gateway; it looks like {DEFAULT_URL}', WRONG_USAGE)
    return base


def _is_local(base: str) -> bool:
    host = urlsplit(base).hostname
    return host == "localhost" or is_loopback(host)


def _unreachable(base: str, error: Exception) -> str:
    hint = f"Another address: --admin URL, or {URL_VARIABLE}."
    if isinstance(error, httpx.ConnectError):
        reason = _ERRNO.sub("", str(error)) or "no connection"
        return f"no gateway answers at {base}: {reason}. Is it running? {hint}"
    if isinstance(error, httpx.TimeoutException):
        return f"the gateway at {base} does not answer within {TIMEOUT_S:g} s. {hint}"
    return f"the gateway at {base} cannot be asked: {str(error) or type(error).__name__}. {hint}"


def _refused(base: str, path: str, answer: httpx.Response, *, with_token: bool) -> str:
    body = _json_object(answer) or {}
    detail = body.get("detail")
    if answer.status_code == 401:
        said = "does not accept this token" if with_token else "wants the admin token"
        return f"the gateway at {base} {said}: pass admin.token of its configuration with --token or {TOKEN_VARIABLE}."
    if answer.status_code == 403:
        then = "" if with_token else f" Then pass the token with --token or {TOKEN_VARIABLE}."
        return f"the gateway at {base} refuses: {detail or 'forbidden.'}{then}"
    if answer.status_code == 404 and path.count("/") == 2:
        return f"there is no admin API at {base}: with admin.listen set it has an address of its own (--admin URL, or {URL_VARIABLE})."
    return str(detail or f"the gateway at {base} answered {answer.status_code} {answer.reason_phrase}")


def _json_object(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
