"""What is answered about a file: whole, a part of it, or that it has not changed (RFC 9110, sections 13 and 14).

The length that is told is that of the file when it was opened; whoever frames the answer cuts it where the file has become
shorter. Several ranges at once are answered with the whole (section 14.2 lets a server choose), and so is a range that is none.
"""

from __future__ import annotations

import asyncio
import re
from email.utils import formatdate, parsedate_to_datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from lbgateway.errors import GatewayError, PreconditionFailed, RangeNotSatisfiable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Send

    from lbgateway.controlplane.beneath import OpenFile

PIECE_BYTES: Final = 64 * 1024
VALIDATORS: Final = ("etag", "last-modified", "cache-control", "vary")
"""What 304 repeats of the headers that 200 would have had (section 15.4.5)."""

LONGEST_CONDITION: Final = 4096
"""So much is read of a list of tags: nobody has more versions of a file."""

_one_range = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,19})-([0-9]{0,19})[ \t]*", re.IGNORECASE).fullmatch
_tags = re.compile(r'(W/)?("[!\x23-\x7e\x80-\xff]*")').findall


class FileAnswer:
    """One answer: `status`, `headers` (lower-case names) and the bytes from `start` up to `end`."""

    def __init__(self, status: int, headers: dict[str, str], start: int = 0, end: int = 0) -> None:
        self.status = status
        self.headers = headers
        self.start, self.end = start, end

    async def send(self, file: OpenFile, send: Send) -> None:
        """As ASGI wants it; reads beside the loop, which forwards requests."""
        raw = [(name.encode(), value.encode("latin-1")) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        at = self.start
        while at < self.end and (piece := await asyncio.to_thread(file.read, at, min(PIECE_BYTES, self.end - at))):
            at += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


def answer(file: OpenFile, asked: Mapping[str, str], headers: Mapping[str, str], *, head_only: bool) -> FileAnswer | GatewayError:
    """What to say about `file` to somebody who has `asked` with these fields (lower-case names).

    `headers`: what is said of it beside its size and age.
    """
    size, modified_s = file.status.st_size, int(file.status.st_mtime)
    told = {"etag": _tag(file, headers), "last-modified": formatdate(modified_s, usegmt=True), **headers}
    if _is_another(asked, told["etag"], modified_s):
        return PreconditionFailed()
    if _is_known(asked, told["etag"], modified_s):
        return FileAnswer(304, {name: told[name] for name in VALIDATORS if name in told})
    told["accept-ranges"] = "bytes"
    wanted = None if head_only else _range(asked, told, size)
    if isinstance(wanted, GatewayError):
        return wanted
    start, end = wanted or (0, size)
    if wanted is not None:
        told["content-range"] = f"bytes {start}-{end - 1}/{size}"
    told["content-length"] = str(end - start)
    return FileAnswer(200 if wanted is None else 206, told, *((0, 0) if head_only else (start, end)))


def _tag(file: OpenFile, headers: Mapping[str, str]) -> str:
    """The same for the same build on every gateway, another for each coding."""
    about = f"{file.status.st_mtime_ns} {file.status.st_size} {headers.get('content-encoding', '')}"
    return f'"{blake2b(about.encode(), digest_size=12).hexdigest()}"'


def _is_another(asked: Mapping[str, str], tag: str, modified_s: int) -> bool:
    """``If-Match``, compared strongly, or else ``If-Unmodified-Since``: the client wants what it knows, and it is not there."""
    given = asked.get("if-match")
    if given is not None:
        return given.strip() != "*" and ("", tag) not in _tags(given[:LONGEST_CONDITION])
    since_s = _moment_s(asked.get("if-unmodified-since"))
    return since_s is not None and modified_s > since_s


def _is_known(asked: Mapping[str, str], tag: str, modified_s: int) -> bool:
    """``If-None-Match``, compared weakly, or else ``If-Modified-Since``."""
    given = asked.get("if-none-match")
    if given is not None:
        return given.strip() == "*" or any(each == tag for _, each in _tags(given[:LONGEST_CONDITION]))
    since_s = _moment_s(asked.get("if-modified-since"))
    return since_s is not None and modified_s <= since_s


def _range(asked: Mapping[str, str], told: Mapping[str, str], size: int) -> tuple[int, int] | RangeNotSatisfiable | None:
    """First byte and the one behind the last; None for the whole."""
    found = _one_range(asked.get("range", ""))
    if found is None or not size or asked.get("if-range", told["etag"]).strip() not in (told["etag"], told["last-modified"]):
        return None
    first, last = (int(each) if each else None for each in found.groups())
    if first is None:
        if last is None:
            return None
        start, end = size - min(last, size), size
    elif last is not None and last < first:
        return None
    else:
        start, end = first, size if last is None else min(last + 1, size)
    if start < end:
        return start, end
    return RangeNotSatisfiable(headers=b"Content-Range: bytes */%d\r\n" % size)


def _moment_s(value: str | None) -> float | None:
    """A date of HTTP in Unix seconds; None for one that is none (section 13.1.3: then it is ignored)."""
    try:
        return None if value is None else parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
