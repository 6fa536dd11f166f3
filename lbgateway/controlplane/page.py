"""The operators' page: a shell and its assets. They hold no data and need no token; the page's scripts ask for one
and read all that they show from the admin API.

Nothing is built: the files of ``static/`` are what a browser gets. They are read once in a process's life, and are
all that can be asked for, so that no name leads out of the folder.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.requests import Request  # noqa: TC002 Starlette asks what an endpoint takes
from starlette.responses import Response
from starlette.routing import Match, Route

from lbgateway.errors import NoRoute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.routing import BaseRoute
    from starlette.types import Scope

STATIC: Final = Path(__file__).parent / "static"
SHELL: Final = "index.html"
NEEDLESS: Final = b'<meta name="lbgateway-token" content="needless">'
WANTED: Final = b'<meta name="lbgateway-token" content="wanted">'

MEDIA_TYPES: Final[Mapping[str, str]] = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
"""Not left to the machine's tables: with `nosniff` a script of another type does not run."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing but our own files, nothing inline, no text that becomes markup: names in a registry are anybody's."""

HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-cache",  # asked for again each time: a new version of the gateway is a new page
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent."""

    body: bytes
    media_type: str
    etag: str


def routes(wants_token: Callable[[Request], bool]) -> list[BaseRoute]:
    """What a browser gets without a token; to be put before the API's routes.

    `wants_token`: whether the API would ask whoever opens the page for one. The shell tells it, so that the page asks its
    reader first: data asked for without a token would be a refusal in the audit log, each time that somebody opens the page.
    """

    async def shell(request: Request) -> Response:
        answer = _answer(request, _shell(wanted=wants_token(request)))
        answer.headers["vary"] = "Accept"  # one of its addresses has data for programs
        return answer

    return [
        Route("/admin", shell),
        Route("/admin/", shell),
        _ForBrowsers("/admin/upstreams", shell),
        Route("/admin/assets/{name}", _asset),
    ]


@functools.cache
def assets() -> Mapping[str, Asset]:
    """Every file of the page by its name."""
    return {path.name: _read(path) for path in sorted(STATIC.iterdir())}


@functools.cache
def _shell(*, wanted: bool) -> Asset:
    plain = assets()[SHELL]
    return _made(plain.body.replace(NEEDLESS, WANTED), plain.media_type) if wanted else plain


def _read(path: Path) -> Asset:
    return _made(path.read_bytes(), MEDIA_TYPES[path.suffix])


def _made(body: bytes, media_type: str) -> Asset:
    return Asset(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:20]}"')


async def _asset(request: Request) -> Response:
    asset = assets().get(request.path_params["name"])
    if asset is None:
        raise NoRoute
    return _answer(request, asset)


def _answer(request: Request, asset: Asset) -> Response:
    headers = {**HEADERS, "etag": asset.etag}
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(asset.body, headers=headers, media_type=asset.media_type)


class _ForBrowsers(Route):
    """A path that others share: theirs is every request of a program."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
        return super().matches(scope) if prefers_html(accept.decode("latin-1")) else (Match.NONE, {})


def prefers_html(accept: str) -> bool:
    """Whether a client names HTML and does not like JSON better (RFC 9110, 12.5.1): browsers do, programs say ``*/*`` or nothing."""
    weights = dict(map(_weighed, accept.lower().split(",")))
    html = weights.get("text/html", 0.0)
    return html > 0 and html >= weights.get("application/json", 0.0)


def _weighed(part: str) -> tuple[str, float]:
    name, *parameters = (each.strip() for each in part.split(";"))
    quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    try:
        return name, float(quality)
    except ValueError:
        return name, 0.0
