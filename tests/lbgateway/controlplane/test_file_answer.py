"""What is answered about a file: tables of conditions and of ranges."""

from __future__ import annotations

import os
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from lbgateway.controlplane.beneath import OpenFile, open_beneath
from lbgateway.controlplane.file_answer import PIECE_BYTES, FileAnswer, answer
from lbgateway.errors import GatewayError

AT_S = 1_700_000_000
SAID = {"content-type": "text/plain", "cache-control": "no-cache", "vary": "Accept-Encoding"}


@pytest.fixture
def file(tmp_path: Path) -> OpenFile:
    """Ten bytes of a known age."""
    return made(tmp_path, b"0123456789")


def made(folder: Path, body: bytes) -> OpenFile:
    (folder / "a.txt").write_bytes(body)
    os.utime(folder / "a.txt", (AT_S + 0.5, AT_S + 0.5))
    found = open_beneath(folder, "a.txt")
    assert found is not None
    return found


def tag_of(file: OpenFile, **said: str) -> str:
    told = answer(file, {}, {**SAID, **said}, head_only=False)
    assert isinstance(told, FileAnswer)
    return told.headers["etag"]


async def sent(told: FileAnswer, file: OpenFile) -> tuple[int, dict[str, str], bytes]:
    messages: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        messages.append(message)

    await told.send(file, send)
    start, *rest = messages
    assert [each.get("more_body", False) for each in rest] == [True] * (len(rest) - 1) + [False]
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, b"".join(each.get("body", b"") for each in rest)


async def test_a_file_is_sent_whole(file):
    """With its size, its age, and what else is said of it."""
    told = answer(file, {}, SAID, head_only=False)
    status, headers, body = await sent(told, file)
    assert (status, body) == (200, b"0123456789")
    assert headers == {
        **SAID, "content-length": "10", "accept-ranges": "bytes", "etag": tag_of(file), "last-modified": formatdate(AT_S, usegmt=True),
    }  # fmt: skip


async def test_head_gets_the_same_without_the_bytes(file):
    """Whatever range it names (RFC 9110, section 14.2)."""
    whole = answer(file, {}, SAID, head_only=False)
    told = answer(file, {"range": "bytes=0-1"}, SAID, head_only=True)
    status, headers, body = await sent(told, file)
    assert (status, headers, body) == (200, whole.headers, b"")


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-4", (2, 5)),
        ("bytes=7-", (7, 10)),
        ("bytes=7-99", (7, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("Bytes = 2-4 ", (2, 5)),
        ("bytes=9-9999999999999999999", (9, 10)),
        ("bytes=10-", "not there"),
        ("bytes=10-12", "not there"),
        ("bytes=-0", "not there"),
        ("bytes=4-2", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes=a-b", None),
        ("bytes=--1", None),
        ("bytes=+1-2", None),
        ("bytes=1_0-", None),
        ("bytes=\u0661-", None),
        ("bytes=0-1,3-4", None),
        ("bytes=99999999999999999999-", None),
        ("items=0-1", None),
        ("0-1", None),
    ],
)
async def test_one_range_is_answered_with_a_part(file, value, part):
    """What is none is answered with the whole, as a server may; what lies behind the end is 416 with the size."""
    told = answer(file, {"range": value}, SAID, head_only=False)
    if part == "not there":
        assert isinstance(told, GatewayError)
        assert (told.status, told.headers) == (416, b"Content-Range: bytes */10\r\n")
        return
    status, headers, body = await sent(told, file)
    start, end = part or (0, 10)
    assert (status, body) == (206 if part else 200, b"0123456789"[start:end])
    assert (headers["content-length"], headers.get("content-range")) == (str(end - start), f"bytes {start}-{end - 1}/10" if part else None)


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=-5", "bytes=5-"])
async def test_an_empty_file_has_no_parts(tmp_path, value):
    """Content-Range could not name one."""
    file = made(tmp_path, b"")
    status, headers, body = await sent(answer(file, {"range": value}, SAID, head_only=False), file)
    assert (status, headers["content-length"], body) == (200, "0", b"")


LATER, EARLIER = formatdate(AT_S + 60, usegmt=True), formatdate(AT_S - 60, usegmt=True)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"if-none-match": "TAG"}, 304),
        ({"if-none-match": "W/TAG"}, 304),
        ({"if-none-match": '"other", TAG'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"other"'}, 200),
        ({"if-none-match": ""}, 200),
        ({"if-none-match": '"other", ' * 400 + "TAG"}, 304),
        ({"if-none-match": '"other", ' * 6000 + "TAG"}, 200),
        ({"if-none-match": '"other"', "if-modified-since": LATER}, 200),
        ({"if-modified-since": LATER}, 304),
        ({"if-modified-since": formatdate(AT_S, usegmt=True)}, 304),
        ({"if-modified-since": EARLIER}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-modified-since": "Mon, 01 Jan 99999999 00:00:00 GMT"}, 200),
        ({"if-match": "TAG"}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"other", TAG'}, 200),
        ({"if-match": '"other"'}, 412),
        ({"if-match": "W/TAG"}, 412),
        ({"if-match": "TAG", "if-none-match": "TAG"}, 304),
        ({"if-unmodified-since": LATER}, 200),
        ({"if-unmodified-since": EARLIER}, 412),
        ({"if-unmodified-since": "yesterday"}, 200),
        ({"range": "bytes=0-1", "if-range": "TAG"}, 206),
        ({"range": "bytes=0-1", "if-range": formatdate(AT_S, usegmt=True)}, 206),
        ({"range": "bytes=0-1", "if-range": "W/TAG"}, 200),
        ({"range": "bytes=0-1", "if-range": '"other"'}, 200),
        ({"range": "bytes=0-1", "if-range": EARLIER}, 200),
        ({"range": "bytes=99-", "if-range": '"other"'}, 200),
        ({"range": "bytes=99-", "if-none-match": "TAG"}, 304),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_conditions_hold_or_not(file, asked, status):
    """RFC 9110, section 13.2.2, in its order; 304 says of it what 200 would have said."""
    tag = tag_of(file)
    told = answer(file, {name: value.replace("TAG", tag) for name, value in asked.items()}, SAID, head_only=False)
    assert told.status == status
    if isinstance(told, FileAnswer) and status == 304:
        _, headers, body = await sent(told, file)
        assert body == b""
        same = {name: SAID[name] for name in ("cache-control", "vary")}
        assert headers == {"etag": tag, "last-modified": formatdate(AT_S, usegmt=True), **same}


def test_a_tag_stands_for_one_build_and_one_coding(tmp_path, file):
    """The same on all gateways that serve the same build."""
    other = tmp_path / "other"
    other.mkdir()
    assert tag_of(file) == tag_of(made(other, b"9876543210"))
    assert len({tag_of(file), tag_of(file, **{"content-encoding": "br"}), tag_of(made(other, b"01234567890"))}) == 3


async def test_a_large_file_comes_in_pieces(tmp_path):
    """Of bounded size, whatever part is asked for."""
    body = os.urandom(3 * PIECE_BYTES + 5)
    file = made(tmp_path, body)
    assert (await sent(answer(file, {}, SAID, head_only=False), file))[2] == body
    assert (await sent(answer(file, {"range": "bytes=5-200000"}, SAID, head_only=False), file))[2] == body[5:200001]


async def test_a_file_that_shrinks_ends_early(tmp_path):
    """Whoever frames the answer knows what is missing; one that grows is as long as it was."""
    file = made(tmp_path, b"0123456789")
    told = answer(file, {}, SAID, head_only=False)
    (tmp_path / "a.txt").write_bytes(b"0123456789abc")
    assert (await sent(told, file))[2] == b"0123456789"
    os.truncate(tmp_path / "a.txt", 4)
    assert (await sent(told, file))[2] == b"0123"
