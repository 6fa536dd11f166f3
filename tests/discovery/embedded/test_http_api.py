"""Routing, shared parameters, shared headers."""

from __future__ import annotations

import gzip
import json
from random import Random

import pytest

from discovery.embedded.agent import LocalAgent
from discovery.embedded.catalog import Catalog
from discovery.embedded.changes import Changes
from discovery.embedded.endpoints import Call
from discovery.embedded.http_api import Api, Blocking, blocking_parameters
from discovery.embedded.http_server import Request, Response
from discovery.embedded.key_values import KeyValues
from discovery.embedded.records import Node, Refusal
from discovery.embedded.watches import Watches


class ImpatientWatches(Watches):
    """Remembers how long a query would have waited."""

    waits_s: list[float]

    async def past(self, scope: object, index: int, timeout_s: float) -> None:
        self.waits_s.append(timeout_s)


@pytest.fixture
def watches() -> ImpatientWatches:
    made = ImpatientWatches(Catalog(Node("0", "n"), Changes(1)).index_of)
    made.waits_s = []
    return made


@pytest.fixture
def api(watches: ImpatientWatches) -> Api:
    changes = Changes(1)
    return Api(LocalAgent(Catalog(Node("0", "n"), changes)), KeyValues(changes), watches, lambda: 0.0, Random(7))


async def ask(api: Api, path: str, *query: tuple[str, str], method: str = "GET", headers: tuple = (), body: bytes = b"") -> Response:
    return await api.handle(Request(method, path, query, headers, body))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ([], Blocking(0, 300, "leader")),
        ([("index", "7"), ("wait", "5s")], Blocking(7, 5, "leader")),
        ([("wait", "0s")], Blocking(0, 300, "leader")),
        ([("wait", "-5s")], Blocking(0, 300, "leader")),
        ([("wait", "20m")], Blocking(0, 600, "leader")),
        ([("index", str(2**64 - 1))], Blocking(2**64 - 1, 300, "leader")),
        ([("stale", "")], Blocking(0, 300, "stale")),
        ([("consistent", "1")], Blocking(0, 300, "consistent")),
    ],
)
def test_the_parameters_of_a_read(query: list[tuple[str, str]], expected: Blocking) -> None:
    """A wait that makes no sense is the default, one that is too long the longest."""
    assert blocking_parameters(Call("", tuple(query))) == expected


@pytest.mark.parametrize("index", ["", "0", "-1", "1.5", "²", str(2**64), " 1"])
def test_an_index_is_an_unsigned_number_of_64_bits(index: str) -> None:
    """Digits of other scripts are none; nothing and 0 mean "do not wait"."""
    if index in ("", "0"):
        assert blocking_parameters(Call("", (("index", index),))).index == 0
        return
    with pytest.raises(Refusal, match="Invalid index"):
        blocking_parameters(Call("", (("index", index),)))


async def test_only_a_read_with_an_index_waits_and_up_to_a_sixteenth_longer(api: Api, watches: ImpatientWatches) -> None:
    """So that watchers which started together come apart."""
    await ask(api, "/v1/health/service/web")
    for _ in range(50):
        await ask(api, "/v1/health/service/web", ("index", "7"), ("wait", "16s"))
    assert len(watches.waits_s) == 50
    assert all(16 <= wait_s <= 17 for wait_s in watches.waits_s)
    assert max(watches.waits_s) - min(watches.waits_s) > 0.5


async def test_the_longest_route_that_fits_is_taken(api: Api) -> None:
    """``agent/service/register`` is not a service called "register"."""
    await ask(api, "/v1/agent/service/register", method="PUT", body=b'{"Name":"web"}')
    assert json.loads((await ask(api, "/v1/agent/service/web")).body)["ID"] == "web"
    assert (await ask(api, "/v1/agent/service/register")).status == 405
    assert (await ask(api, "/v1/agent/services/more")).status == 404


async def test_a_filter_is_refused_rather_than_ignored(api: Api) -> None:
    """Except where Consul itself ignores it."""
    wanted = ("filter", "Service.Port == 80")
    for path in ("/v1/health/service/web", "/v1/agent/services"):
        answer = await ask(api, path, wanted)
        assert (answer.status, answer.body[:36]) == (500, b"Failed to create boolean expression ")
    assert (await ask(api, "/v1/catalog/services", wanted)).status == 200


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        (b"gzip", True),
        (b"deflate, gzip;q=0.5, br", True),
        (b"GZIP", True),
        (b"gzip;q=0", False),
        (b"gzip;q=0.0, br", False),
        (b"xgzip", False),
    ],
)
async def test_answers_are_packed_for_those_who_said_so(api: Api, accepted: bytes, packed: bool) -> None:
    """A quality of 0 means "not this one"."""
    answer = await ask(api, "/v1/catalog/nodes", headers=((b"accept-encoding", accepted),))
    assert (("Content-Encoding", "gzip") in answer.headers) is packed
    assert json.loads(gzip.decompress(answer.body) if packed else answer.body)[0]["Node"] == "n"


async def test_an_empty_answer_is_not_packed(api: Api) -> None:
    """Success has no body, and packing would give it one."""
    answer = await ask(api, "/v1/agent/check/deregister/x", method="PUT", headers=((b"accept-encoding", b"gzip"),))
    assert (answer.status, answer.body, answer.headers) == (200, b"", ())


async def test_pretty_is_for_people(api: Api) -> None:
    """On every endpoint that answers with JSON."""
    for path in ("/v1/catalog/nodes", "/v1/agent/self"):
        assert b"\n    " in (await ask(api, path, ("pretty", ""))).body
