"""Self-registration: a service announces itself in Consul, keeps saying that it lives, and signs off.

    with register("orders", 9001):                                # any program
        serve()

    async with register("orders", 9001, check=HttpCheck("/health")):
        await serve()

    app = FastAPI(lifespan=register("orders", 9001).lifespan)     # any ASGI application

Consul being away is not the service's problem: it is logged, tried again, and when Consul comes back
without its memory the service registers anew. Only what no waiting can heal, a refused registration,
is raised, and only at the start.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import threading
import time
from random import Random
from typing import TYPE_CHECKING, Any, Self

from discovery.announcement import HttpCheck, Ttl, payload_of, url_from_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

REQUEST_TIMEOUT_S = 2.0
LONGEST_RETRY_S = 2.0
FAREWELL_TRIES, FAREWELL_TIMEOUT_S, FAREWELL_PAUSE_S = 3, 0.7, 0.15
"""With the one call before: three seconds at most, or whoever stops the service loses patience and kills it."""

log = logging.getLogger(__name__)


class RegistrationRefused(Exception):
    """Consul does not want this registration: a bad value, or a token without the right to it."""


class AgentUnavailable(Exception):
    """No answer from the agent, or one that says to try later."""


def register(  # noqa: PLR0913 one keyword per thing that can be said of an instance
    name: str,
    port: int,
    *,
    address: str | None = None,
    id: str | None = None,  # noqa: A002 Consul's word
    tags: Sequence[str] = (),
    meta: Mapping[str, str] | None = None,
    weights: tuple[int, int] | None = None,
    check: Ttl | HttpCheck | None = None,
    expose: bool = True,
    consul_url: str | None = None,
    token: str | None = None,
) -> Registration:
    """Describe an instance that is registered while the returned context manager is open.

    `address`: None = the address of the agent's node. `id`: None = ``name-host-port``, stable over
    restarts, so that a crash leaves no ghost beside its successor. `weights`: (passing, warning).
    `check`: None = ``Ttl()``. `expose`: let the gateway route to it (the opt-in tag). `consul_url`:
    None = ``CONSUL_HTTP_ADDR`` and ``CONSUL_HTTP_TOKEN`` of the environment, else the agent on this
    machine; a URL that is given turns the environment off, the token's too.
    """
    if consul_url is None:
        consul_url, token = url_from_environment(os.environ), token or os.environ.get("CONSUL_HTTP_TOKEN")
    check = check or Ttl()
    id = id or f"{name}-{address or socket.gethostname()}-{port}"  # noqa: A001 Consul's word
    payload = payload_of(name, port, check, address=address, id=id, tags=tags, meta=meta, weights=weights, expose=expose)
    return Registration(payload, check, consul_url, token)


class Registration:
    """One instance: registered by entering, kept up by a thread of its own, gone after leaving."""

    def __init__(self, payload: dict[str, Any], check: Ttl | HttpCheck, consul_url: str, token: str | None) -> None:
        # for life
        self.id = str(payload["ID"])
        self._payload = payload
        self._check = check
        self._consul_url = consul_url
        self._token = token
        # while entered
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        # of the thread
        self._known = False
        self._failures = 0

    def __repr__(self) -> str:
        state = "closed" if self._thread is None else "registered" if self._known else f"trying, {self._failures} failures"
        return f"<Registration {self.id} at {self._consul_url} {state}>"

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._join()

    async def __aenter__(self) -> Self:
        await self._start_in_thread()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()  # before the first await: the thread signs off even if we are cancelled now
        await asyncio.to_thread(self._join)

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Register as the lifespan of an ASGI application, but not before its port accepts connections.

        Servers open their port after the application has started; registered earlier, the first
        requests would be sent to a closed door.
        """
        await self._start_in_thread(when_listening=True)
        try:
            yield
        finally:
            await self.__aexit__()

    async def _start_in_thread(self, *, when_listening: bool = False) -> None:
        try:
            await asyncio.to_thread(self._start, when_listening=when_listening)
        except asyncio.CancelledError:
            self._stopping.set()  # what has begun meanwhile ends by itself
            raise

    def _start(self, *, when_listening: bool = False) -> None:
        if self._thread is not None:
            raise RuntimeError(f"{self.id} is registered already")
        self._stopping.clear()
        self._known, self._failures = False, 0
        agent = ConsulAgent(self._consul_url, self._token)
        try:
            if not when_listening:
                self._beat(agent)
        except RegistrationRefused:
            agent.close()
            raise
        self._thread = threading.Thread(target=self._run, args=(agent, when_listening), name=f"registration {self.id}", daemon=True)
        self._thread.start()

    def _join(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _run(self, agent: ConsulAgent, when_listening: bool) -> None:  # noqa: FBT001 a thread's arguments are positional
        try:
            if when_listening and self._wait_until_listening():
                self._try_beat(agent)
            while not self._stopping.wait(delay_s(self._failures, self._check.heartbeat_s, Random())):
                self._try_beat(agent)
            self._sign_off(agent)
        finally:
            agent.close()

    def _wait_until_listening(self) -> bool:
        place = (self._payload["Address"] or "127.0.0.1", self._payload["Port"])
        while not self._stopping.is_set():
            with contextlib.suppress(OSError), socket.create_connection(place, timeout=1):
                return True
            self._stopping.wait(0.05)
        return False

    def _try_beat(self, agent: ConsulAgent) -> None:
        try:
            self._beat(agent)
        except RegistrationRefused as refusal:
            self._failures += 1
            log.error("%s: Consul at %s refuses the registration: %s", self.id, self._consul_url, refusal)  # noqa: TRY400 the trace tells nothing

    def _beat(self, agent: ConsulAgent) -> None:
        """Say that we live; register first if the agent does not know us (any more)."""
        try:
            if self._known and not self._alive(agent):
                log.warning("%s: Consul at %s has forgotten this registration", self.id, self._consul_url)
                self._known = False
            if not self._known:
                agent.register(self._payload)
                self._known = self._alive(agent)  # a real heartbeat: only that survives a restart of the agent
                log.info("%s: registered at %s", self.id, self._consul_url)
            self._failures = 0
        except AgentUnavailable as error:
            self._failures += 1
            level = logging.WARNING if self._failures == 1 else logging.DEBUG
            log.log(level, "%s: Consul at %s does not answer, trying on: %s", self.id, self._consul_url, error)

    def _alive(self, agent: ConsulAgent) -> bool:
        return agent.heartbeat(self.id) if isinstance(self._check, Ttl) else agent.knows(self.id)

    def _sign_off(self, agent: ConsulAgent) -> None:
        agent.timeout_s = FAREWELL_TIMEOUT_S
        with contextlib.suppress(AgentUnavailable, RegistrationRefused):
            # First, and separately: if what follows is lost, at least nobody is sent here any more.
            agent.close_to_traffic(self.id, ttl=isinstance(self._check, Ttl))
        for attempt in range(FAREWELL_TRIES):
            if attempt:
                time.sleep(FAREWELL_PAUSE_S)
            try:
                agent.deregister(self.id)
            except (AgentUnavailable, RegistrationRefused) as error:
                last = attempt == FAREWELL_TRIES - 1
                log.log(logging.WARNING if last else logging.DEBUG, "%s: not deregistered at %s: %s", self.id, self._consul_url, error)
            else:
                log.info("%s: deregistered at %s", self.id, self._consul_url)
                return


class ConsulAgent:
    """The few calls that registration needs, on python-consul2's synchronous client."""

    def __init__(self, url: str, token: str | None) -> None:
        import consul.base  # noqa: PLC0415 with requests a tenth of a second, which only those pay who register
        import consul.std  # noqa: PLC0415 as above

        # Not `consul.Consul`: that one lets CONSUL_HTTP_* override what it is told, and warns of ACLs that
        # nobody asked for. Its parts do neither.
        self.timeout_s = REQUEST_TIMEOUT_S
        self._http = consul.std.HTTPClient()
        self._http.base_uri = url.rstrip("/")
        self._http.session.trust_env = False  # no proxy between a service and its agent
        self._answered = consul.base.CB.bool()
        self.http, self.token = self._http, token  # what the library's own Agent looks for
        self._agent = consul.base.Consul.Agent(self)
        self._errors = consul.base

    def register(self, payload: Mapping[str, Any]) -> None:
        """Register. Our own request, because the library's drops weights and leaves checks of a former life in place."""
        headers = {"X-Consul-Token": self.token} if self.token else {}
        path, params = "/v1/agent/service/register", [("replace-existing-checks", "true")]
        with self._translated():
            self._http.put(self._answered, path, params=params, headers=headers, data=json.dumps(payload))

    def heartbeat(self, service_id: str) -> bool:
        """Say that the service lives; False if the agent does not know its check."""
        try:
            with self._translated():
                return bool(self._agent.check.ttl_pass(f"service:{service_id}"))
        except AgentUnavailable as error:
            if "does not have associated TTL" in str(error):  # Consul up to 1.10 says so with a 500, later ones with a 404
                return False
            raise

    def knows(self, service_id: str) -> bool:
        """Whether the service is registered."""
        headers = {"X-Consul-Token": self.token} if self.token else {}
        with self._translated():
            return bool(self._http.get(self._answered, f"/v1/agent/service/{service_id}", headers=headers))

    def close_to_traffic(self, service_id: str, *, ttl: bool) -> None:
        """Make the service critical."""
        with self._translated():
            if ttl:
                self._agent.check.ttl_fail(f"service:{service_id}", "stopping")
            else:
                self._agent.service.maintenance(service_id, "true", "stopping")

    def deregister(self, service_id: str) -> None:
        with self._translated():
            self._agent.service.deregister(service_id)

    def close(self) -> None:
        self._http.session.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        import requests  # noqa: PLC0415 loaded by then

        errors = self._errors
        self._http.timeout = self.timeout_s  # without one it would wait forever
        try:
            yield
        except (errors.BadRequest, errors.ACLDisabled, errors.ACLPermissionDenied, errors.ClientError) as error:
            raise RegistrationRefused(str(error)) from error
        except (errors.ConsulException, requests.RequestException) as error:
            raise AgentUnavailable(str(error) or type(error).__name__) from error


def delay_s(failures: int, heartbeat_s: float, random: Random) -> float:
    """Seconds until the next heartbeat: never later than `heartbeat_s`, sooner after a failure.

    Both are jittered, so that the instances of a machine do not speak in chorus.
    """
    if not failures:
        return heartbeat_s * random.uniform(0.8, 1.0)
    return min(0.25 * 2.0 ** min(failures - 1, 8), LONGEST_RETRY_S, heartbeat_s) * random.uniform(0.5, 1.0)
