"""Services that are asked about credentials over HTTP: one with sessions (``auth.session.url``), one that inspects tokens.

A service may answer in the words of RFC 7662, or simply with 200 or 401 (`policies.testimony`). A token is shown in both of
the usual ways at once: as a form, which is RFC 7662, and as ``Authorization``, as to any service. One that knows no POST is
asked with GET. A service at which the gateway has a name and a secret of its own (RFC 7662, section 2.1) is shown these as
``Authorization``, and is held to the RFC: POST, and 200 for whatever it knows of the token. Another status is about the
gateway, not about the token, and nobody is turned away for it.
"""

from __future__ import annotations

import base64
import time
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote_plus
from uuid import uuid4

from lbgateway.authorities.asking import Asking, Unanswered
from lbgateway.calls import WITHIN_S
from lbgateway.own_client import UnusableAnswer, fetch, own_client
from lbgateway.policies.testimony import MAX_BYTES, Silence, Testimony, of_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

NO_POST = frozenset((404, 405, 501))
ACCEPT = "application/json"


class _Service:
    """One service; the client is made with the first question."""

    def __init__(self, what: str, url: str, no: str, transport: httpx.AsyncBaseTransport | None) -> None:
        self.url = url
        self.asking = Asking(what, self.ask, within_s=WITHIN_S, close=self._aclose)
        self._no = no
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def ask(self, credential: bytes) -> Testimony:
        raise NotImplementedError

    async def answer_to(self, build: Callable[[httpx.AsyncClient], httpx.Request]) -> tuple[int, bytes]:
        if self._client is None:
            client = await own_client(self.url, WITHIN_S, accept=ACCEPT, transport=self._transport)
            if self._client is None:
                self._client = client
        try:
            return await fetch(self._client, build(self._client), MAX_BYTES)
        except UnusableAnswer as error:
            raise Unanswered(str(error)) from error

    def read(self, status: int, body: bytes) -> Testimony:
        testimony = of_answer(status, body, self._no, time.time())
        if isinstance(testimony, Silence):
            raise Unanswered(testimony.cause)
        return testimony

    async def _aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()


class SessionService(_Service):
    """Is shown the session's cookie, by GET."""

    def __init__(self, url: str, cookie: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__("the service with the sessions", url, "session", transport)
        self._cookie = cookie

    async def ask(self, credential: bytes) -> Testimony:
        cookie = f"{self._cookie}={credential.decode()}"
        return self.read(*await self.answer_to(lambda client: client.build_request("GET", self.url, headers={"Cookie": cookie})))


class Introspection(_Service):
    """Is shown a token, by POST; `url` names a service of the registry, which `transport` reaches.

    `client`: the gateway's own name and secret there.
    """

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport, client: tuple[str, str] | None = None) -> None:
        super().__init__("the service that inspects tokens", url, "inactive", transport)
        self._post = True
        self._basic = _basic(*client) if client is not None else None

    async def ask(self, credential: bytes) -> Testimony:
        token = credential.decode("ascii", "replace")
        if self._basic is not None:
            return await self._ask_as_client(token, self._basic)
        # Asking twice does no harm, and the engine may only try another instance where that is said.
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": uuid4().hex}
        if self._post:
            form = {"token": token, "token_type_hint": "access_token"}
            status, body = await self.answer_to(lambda client: client.build_request("POST", self.url, data=form, headers=headers))
            if status not in NO_POST:
                return self.read(status, body)
        status, body = await self.answer_to(lambda client: client.build_request("GET", self.url, headers=headers))
        self._post = self._post and status in NO_POST
        return self.read(status, body)

    async def _ask_as_client(self, token: str, basic: str) -> Testimony:
        form = {"token": token, "token_type_hint": "access_token"}
        headers = {"Authorization": basic, "Idempotency-Key": uuid4().hex}
        status, body = await self.answer_to(lambda client: client.build_request("POST", self.url, data=form, headers=headers))
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise Unanswered(f"client_id and client_secret are not accepted: the answer has the status {status}")
        if status != HTTPStatus.OK:
            raise Unanswered(f"the answer has the status {status}")
        return self.read(status, body)


def _basic(name: str, secret: str) -> str:
    """RFC 6749, section 2.3.1: both are encoded as in a form before they are joined."""
    return "Basic " + base64.b64encode(f"{quote_plus(name)}:{quote_plus(secret)}".encode()).decode()
