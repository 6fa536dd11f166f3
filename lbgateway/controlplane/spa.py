"""The single-page application: files of one folder, and its index for every address that only the browser knows.

An existing file is served as it is, compressed if a compressed one lies beside it. Any other address is one of
the application's own, made up by its router in the browser, and answered with the index; only what looks like a
file and is not asked for by somebody who navigates is 404: a missing script that turns out to be HTML is a riddle.

Caching: the index must never be old, or browsers ask for scripts of the version before; a file with a hash in its
name can never change; everything else is asked for again and answered with 304.
"""

from __future__ import annotations

import asyncio
import mimetypes
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.responses import FileResponse
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from lbgateway.controlplane.answers import problem_response
from lbgateway.errors import MethodNotAllowed, NoRoute

if TYPE_CHECKING:
    import os

    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

ENCODINGS: Final = (("br", ".br"), ("zstd", ".zst"), ("gzip", ".gz"))
"""Content coding and the ending of its file, the best first."""

IMMUTABLE: Final = "public, max-age=31536000, immutable"
REVALIDATE: Final = "no-cache"

_HASHED = re.compile(
    r"[.-](?:(?=[A-Za-z0-9]*[0-9][A-Za-z])(?=[A-Za-z0-9]*[A-Za-z][0-9])[A-Za-z0-9]{8,}"
    r"|(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{16,}"
    r"|(?=[\w-]*[0-9])(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[A-Za-z0-9_-]{8})\.[a-z0-9.]+$"
)
"""``app-BqX1yz12.js``, ``main.8f3a9c1b.css``: bundlers name files by their content. Letters and digits change in a hash; in a word,
a date or a version they do not, and who is taken for a word is asked for again, which costs little."""

_WELL_KNOWN = ".well-known"


class Spa:
    """An ASGI application. `directory` may change while it runs; nothing outside of it is ever read, links included."""

    def __init__(self, directory: str, index: str) -> None:
        self._directory = Path(directory)
        self._index = index
        self._static = StaticFiles(directory=directory, check_dir=False)

    def __repr__(self) -> str:
        return f"<Spa {self._directory}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._respond(scope)
        response.headers.setdefault("via", "1.1 lbgateway")
        await response(scope, receive, send)

    async def _respond(self, scope: Scope) -> Response:
        request_id = str(scope["state"]["request_id"])
        if scope["method"] not in ("GET", "HEAD"):
            return problem_response(MethodNotAllowed(headers=b"Allow: GET, HEAD\r\n"), request_id)
        headers = Headers(scope=scope)
        # Files may lie on a slow disk, and the loop forwards requests.
        accepted = (headers.get("accept", ""), headers.get("accept-encoding", ""))
        found = await asyncio.to_thread(self.find, scope["raw_path"].decode(), *accepted)
        if found is None:
            return problem_response(NoRoute(), request_id)
        response = found.response()
        if self._static.is_not_modified(response.headers, headers):
            return NotModifiedResponse(response.headers)
        return response

    def find(self, path: str, accept: str, accept_encoding: str) -> Found | None:
        """What `path`, normalised and still escaped, is answered with; None for 404."""
        name = unquote(path).lstrip("/")
        found = self._file(name) if name else None
        if found is None:
            if "." in name.rpartition("/")[2] and "text/html" not in accept:
                return None
            name, found = self._index, self._file(self._index)
        if found is None:
            return None
        cache = IMMUTABLE if name != self._index and _HASHED.search(name.rpartition("/")[2]) else REVALIDATE
        return self._smallest(Found(*found, name, cache), accept_encoding)

    def _file(self, name: str) -> tuple[Path, os.stat_result] | None:
        """A regular file inside of the folder, wherever links lead; hidden ones do not exist."""
        if "\\" in name or "\0" in name or any(part.startswith(".") and part != _WELL_KNOWN for part in name.split("/")):
            return None
        try:
            root = self._directory.resolve()  # each time: deployments move a link from one version to the next
            full = (root / name).resolve()
            status = full.stat()
        except (OSError, ValueError, RuntimeError):  # gone, unreadable, links in circles, a name that no file system takes
            return None
        return (full, status) if full.is_relative_to(root) and stat.S_ISREG(status.st_mode) else None

    def _smallest(self, plain: Found, accept_encoding: str) -> Found:
        """The file that was compressed beforehand, if there is one that the client takes."""
        for coding, ending in ENCODINGS:
            packed = self._file(plain.name + ending)
            if packed is not None:
                plain.varies = True
                if accepts(accept_encoding, coding):
                    return Found(*packed, plain.name, plain.cache, coding)
        return plain


class Found:
    """A file to be sent. `name`: what it is called by, without the ending of a coding."""

    def __init__(self, path: Path, status: os.stat_result, name: str, cache: str, coding: str | None = None) -> None:
        self.path = path
        self.status = status
        self.name = name
        self.cache = cache
        self.coding = coding
        self.varies = coding is not None

    def response(self) -> FileResponse:
        headers = {"cache-control": self.cache}
        if self.coding is not None:
            headers["content-encoding"] = self.coding
        if self.varies:
            headers["vary"] = "Accept-Encoding"
        media_type = mimetypes.guess_type(self.name)[0] or "application/octet-stream"
        return FileResponse(self.path, headers=headers, media_type=media_type, stat_result=self.status)


def accepts(accept_encoding: str, coding: str) -> bool:
    """Whether a client takes `coding` (RFC 9110, 12.5.3); ``q=0`` is a no, and a coding that is not named is one, too."""
    for part in accept_encoding.lower().split(","):
        name, _, parameter = part.partition(";")
        if name.strip() == coding:
            return re.fullmatch(r"\s*q\s*=\s*0(?:\.0*)?\s*", parameter) is None
    return False
