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
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from starlette.datastructures import Headers

from lbgateway.controlplane import file_answer
from lbgateway.controlplane.answers import problem_response
from lbgateway.controlplane.beneath import OpenFile, open_beneath
from lbgateway.errors import GatewayError, MethodNotAllowed, NoRoute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

ENCODINGS: Final = (("br", ".br"), ("zstd", ".zst"), ("gzip", ".gz"))
"""Content coding and the ending of its file, the best first."""

VIA: Final = "1.1 lbgateway"
BYTES: Final = "application/octet-stream"
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

    def __repr__(self) -> str:
        return f"<Spa {self._directory}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        found = None
        try:
            if scope["method"] not in ("GET", "HEAD"):
                raise MethodNotAllowed(headers=b"Allow: GET, HEAD\r\n")
            accepted = (headers.get("accept", ""), headers.get("accept-encoding", ""))
            # Files may lie on a slow disk, and the loop forwards requests.
            found = await asyncio.to_thread(self.find, scope["raw_path"].decode(), *accepted)
            if found is None:
                raise NoRoute
            answer = found.answer(headers, head_only=scope["method"] == "HEAD")
            if isinstance(answer, GatewayError):
                raise answer
            await answer.send(found.file, send)
        except GatewayError as error:
            response = problem_response(error, str(scope["state"]["request_id"]))
            response.headers["via"] = VIA
            await response(scope, receive, send)
        finally:
            if found is not None:
                found.file.close()

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
        return self._smallest(Found(found, name, cache), accept_encoding)

    def _file(self, name: str) -> OpenFile | None:
        """A regular file inside of the folder, wherever links lead; hidden ones do not exist."""
        if "\\" in name or "\0" in name or any(part.startswith(".") and part != _WELL_KNOWN for part in name.split("/")):
            return None
        return open_beneath(self._directory, name)

    def _smallest(self, plain: Found, accept_encoding: str) -> Found:
        """The file that was compressed beforehand, if there is one that the client takes."""
        for coding, ending in ENCODINGS:
            packed = self._file(plain.name + ending)
            if packed is None:
                continue
            plain.varies = True
            if accepts(accept_encoding, coding):
                plain.file.close()
                return Found(packed, plain.name, plain.cache, coding)
            packed.close()
        return plain


class Found:
    """A file to be sent, and closed. `name`: what it is called by, without the ending of a coding."""

    def __init__(self, file: OpenFile, name: str, cache: str, coding: str | None = None) -> None:
        self.file = file
        self.name = name
        self.cache = cache
        self.coding = coding
        self.varies = coding is not None

    def answer(self, asked: Mapping[str, str], *, head_only: bool) -> file_answer.FileAnswer | GatewayError:
        """What to say about it to somebody who has `asked` with these fields (lower-case names)."""
        headers = {"content-type": media_type_of(self.name), "cache-control": self.cache, "via": VIA}
        if self.coding is not None:
            headers["content-encoding"] = self.coding
        if self.varies:
            headers["vary"] = "Accept-Encoding"
        return file_answer.answer(self.file, asked, headers, head_only=head_only)


def media_type_of(name: str) -> str:
    """By the ending; what is packed itself is no more than bytes."""
    kind, packed = mimetypes.guess_type(name)
    if kind is None or packed is not None:
        return BYTES
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def accepts(accept_encoding: str, coding: str) -> bool:
    """Whether a client takes `coding` (RFC 9110, 12.5.3); ``q=0`` is a no, and a coding that is not named is one, too."""
    for part in accept_encoding.lower().split(","):
        name, _, parameter = part.partition(";")
        if name.strip() == coding:
            return re.fullmatch(r"\s*q\s*=\s*0(?:\.0*)?\s*", parameter) is None
    return False
