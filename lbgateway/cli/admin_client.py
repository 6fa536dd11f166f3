"""``lbgateway routes``, ``upstreams`` and ``explain``: what a running gateway says of itself, for people or as JSON."""

from __future__ import annotations

import json
import os
import re
import ssl
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import httpx

from lbgateway.cli import admin_tables, drawing, explanation
from lbgateway.controlplane.admin_auth import is_loopback

if TYPE_CHECKING:
    from argparse import Namespace

DEFAULT_URL = "http://127.0.0.1:8080"
URL_VARIABLE = "LBGATEWAY_ADMIN_URL"
TOKEN_VARIABLE = "LBGATEWAY_ADMIN_TOKEN"  # noqa: S105 the name of a variable, not its value
CACERT_VARIABLE = "LBGATEWAY_ADMIN_CACERT"
TIMEOUT_S = 10.0
PAGE = 2000
"""Instances that are fetched at once: 20,000 in one answer would be 16 MB."""

COMPARED, SHOWN = 1000, 10
"""Of a service's instances, where one is asked for that it does not have."""

_ERRNO = re.compile(r"\[Errno -?\d+\] ")

FINE, NO, WRONG_USAGE = 0, 1, 2


Body = dict[str, Any]
Get = Callable[[str], Body]
"""Path with query -> the JSON there; raises `AdminError`."""


class Access(NamedTuple):
    """Where a gateway is and what opens it; None for what the environment says."""

    url: str | None = None
    token: str | None = None
    cacert: str | None = None


def access_of(args: Namespace) -> Access:
    """As the options say."""
    return Access(args.admin, args.token, args.cacert)


class AdminError(Exception):
    """The sentence to show, and the exit code."""

    def __init__(self, message: str, exit_code: int = NO) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def routes(args: Namespace, *, transport: httpx.BaseTransport | None = None) -> int:
    """Show the compiled routes. `args`: ``admin``, ``token``, ``cacert`` (each may be None), ``json``. Returns the exit code."""
    return _show(args, admin_tables.routes, lambda get: get("/admin/routes"), transport)


def upstreams(args: Namespace, *, transport: httpx.BaseTransport | None = None) -> int:
    """Show all services with their instances, or one: `args` as for `routes`, and ``service``, ``state`` (may be None)."""
    query = {"state": args.state} if args.state else {}
    if args.service is None:
        return _show(args, admin_tables.upstreams, lambda get: paged(get, "/admin/upstreams", query), transport)
    return _show(args, admin_tables.upstream, lambda get: paged(get, _path_of(args.service), query), transport)


def explain(args: Namespace, *, transport: httpx.BaseTransport | None = None) -> int:
    """Show why each instance of ``service``, or only ``instance``, may be picked or not; `args` otherwise as for `routes`."""

    def ask(get: Get) -> Body:
        body = paged(get, f"{_path_of(args.service)}/explain", {"instance": args.instance} if args.instance else {})
        if args.instance and not body.get("instances"):
            from lbgateway.config.errors import did_you_mean

            known = [str(each.get("id")) for each in get(f"{_path_of(args.service)}?limit={COMPARED}").get("instances", ())]
            near = did_you_mean(args.instance, known) or "."
            hint = f" It has {', '.join(known[:SHOWN])}{' …' if len(known) > SHOWN else ''}." if known else " It has none."
            raise AdminError(f'{args.service} has no instance "{args.instance}"{near}{hint}')
        return body

    return _show(args, explanation.explanation, ask, transport)


def _path_of(service: str) -> str:
    return f"/admin/upstreams/{quote(service, safe='')}"


def paged(get: Get, path: str, query: dict[str, str]) -> Body:
    """The whole document, fetched page by page and put together again."""
    whole = get(f"{path}?{urlencode({**query, 'limit': PAGE})}")
    cursor = whole.get("next_cursor")
    while cursor:
        page = get(f"{path}?{urlencode({**query, 'limit': PAGE, 'cursor': cursor})}")
        _append(whole, page)
        cursor = page.get("next_cursor")
    if "next_cursor" in whole:
        whole["next_cursor"] = None
    return whole


def _append(whole: Body, page: Body) -> None:
    """A service that a page has cut goes on with the next one."""
    if "instances" in page:
        whole["instances"] += page["instances"]
    for service in page.get("services", ()):
        if whole["services"] and whole["services"][-1]["name"] == service["name"]:
            whole["services"][-1]["instances"] += service["instances"]
        else:
            whole["services"].append(service)


def _show(
    args: Namespace, present: Callable[[Body], admin_tables.Page], ask: Callable[[Get], Body], transport: httpx.BaseTransport | None
) -> int:
    try:
        body = ask(lambda path: fetch(path, access_of(args), transport=transport))
    except AdminError as error:
        print(f"lbgateway: {admin_tables.clean(error)}", file=sys.stderr)
        return error.exit_code
    if args.json:
        print(json.dumps(body, indent=2, ensure_ascii=False))
    else:
        drawing.show(present(body), sys.stdout)
    return FINE


def fetch(
    path: str,
    access: Access,
    *,
    transport: httpx.BaseTransport | None = None,
    send: Body | None = None,
    within_s: float = TIMEOUT_S,
) -> dict[str, Any]:
    """The JSON object at `path` of the gateway's admin API, or the answer to `send`.

    Raises `AdminError` with a sentence that says what to do.
    """
    base = base_url(access.url or os.environ.get(URL_VARIABLE) or DEFAULT_URL)
    token = (access.token or os.environ.get(TOKEN_VARIABLE) or "").strip()
    if not token.isprintable():
        raise AdminError(f"the token holds control characters, or a line break: look at --token or {TOKEN_VARIABLE}", WRONG_USAGE)
    headers = {b"authorization": b"Bearer " + token.encode()} if token else {}
    # A proxy from the environment must not be asked for what is on this machine.
    trust_env = not _is_local(base)
    verify = _trusting(access.cacert or os.environ.get(CACERT_VARIABLE))
    try:
        with httpx.Client(transport=transport, timeout=within_s, trust_env=trust_env, verify=verify) as client:
            answer = client.request("GET" if send is None else "POST", base + path, headers=headers, json=send)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise AdminError(_unreachable(base, error)) from error
    if answer.status_code != 200:
        raise AdminError(_refused(base, path, answer, with_token=bool(token)), WRONG_USAGE if answer.status_code == 400 else NO)
    body = _json_object(answer)
    if body is None:
        raise AdminError(f"what answers at {base} is not a lbgateway: it sent no JSON for {path}")
    return body


def _trusting(cacert: str | None) -> ssl.SSLContext | bool:
    if not cacert:
        return True
    try:
        return ssl.create_default_context(cafile=cacert)
    except OSError as error:
        why = "holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise AdminError(f"--cacert {cacert}: {why}", WRONG_USAGE) from None


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
    reason = _ERRNO.sub("", str(error))
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        why = reason.partition("verify failed: ")[2].partition(" (_ssl")[0] or "not trusted"
        return f"the certificate of {base} is not believed: {why}. Its authority's file: --cacert FILE, or {CACERT_VARIABLE}."
    if "[SSL" in reason and base.startswith("https:"):
        return f"{base} does not speak TLS as we do ({reason.partition(' (_ssl')[0]}). Is it http://…? {hint}"
    if isinstance(error, httpx.ConnectError):
        return f"no gateway answers at {base}: {reason or 'no connection'}. Is it running? {hint}"
    if isinstance(error, httpx.TimeoutException):
        return f"the gateway at {base} does not answer within {TIMEOUT_S:g} s. {hint}"
    cut_off = base.startswith("http:") and isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)
    secure = " Does it speak TLS (https://…)?" if cut_off else ""
    return f"the gateway at {base} cannot be asked: {reason or type(error).__name__}.{secure} {hint}"


def _refused(base: str, path: str, answer: httpx.Response, *, with_token: bool) -> str:
    body = _json_object(answer) or {}
    detail = body.get("detail")
    if answer.status_code == 401:
        said = "does not accept this token" if with_token else "wants the admin token"
        return f"the gateway at {base} {said}: pass admin.token of its configuration with --token or {TOKEN_VARIABLE}."
    if answer.status_code == 403:
        then = "" if with_token else f" Then pass the token with --token or {TOKEN_VARIABLE}."
        return f"the gateway at {base} refuses: {detail or 'forbidden.'}{then}"
    if answer.status_code == 404 and path.partition("?")[0].count("/") == 2:
        return f"there is no admin API at {base}: with admin.listen set it has an address of its own (--admin URL, or {URL_VARIABLE})."
    if body.get("candidates"):
        return f"{detail} There are {', '.join(map(str, body['candidates']))}."
    return str(detail or f"the gateway at {base} answered {answer.status_code} {answer.reason_phrase}")


def _json_object(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
