"""The few calls of Consul's agent that registration needs, on python-consul2's synchronous client."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from discovery.consul_access import ConsulAccess

REQUEST_TIMEOUT_S = 2.0


class RegistrationRefused(Exception):
    """Consul does not want this registration: a bad value, or a token without the right to it."""


class AgentUnavailable(Exception):
    """No answer from the agent, or one that says to try later."""


class ConsulAgent:
    """One agent; each call takes `timeout_s` at most, raises `AgentUnavailable` or `RegistrationRefused`, and blocks."""

    def __init__(self, access: ConsulAccess) -> None:
        import consul.base  # noqa: PLC0415 with requests a tenth of a second, which only those pay who register
        import consul.std  # noqa: PLC0415 as above

        # Not `consul.Consul`: that one lets CONSUL_HTTP_* override what it is told, and warns of ACLs that
        # nobody asked for. Its parts do neither.
        self.timeout_s = REQUEST_TIMEOUT_S
        self._access = access
        cert = (access.cert, access.key) if access.cert and access.key else access.cert
        self._http = consul.std.HTTPClient(verify=(access.ca or True) if access.verify else False, cert=cert)
        self._http.base_uri = access.url.rstrip("/")
        self._http.session.trust_env = False  # no proxy between a service and its agent
        self._answered = consul.base.CB.bool()
        self.http, self.token = self._http, access.token  # what the library's own Agent looks for
        self._agent = consul.base.Consul.Agent(self)
        self._errors = consul.base

    def own_address(self) -> str | None:
        """Our own address as the agent sees it, see `ConsulAccess.own_address`."""
        try:
            return self._access.own_address()
        except OSError as error:
            raise AgentUnavailable(f"there is no way to it: {error.strerror or error}") from error

    def register(self, payload: Mapping[str, Any]) -> None:
        """Register. Our own request, because the library's drops weights and leaves checks of a former life in place."""
        path, params = "/v1/agent/service/register", [("replace-existing-checks", "true")]
        with self._translated():
            self._http.put(self._answered, path, params=params, headers=self._headers(), data=json.dumps(payload))

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
        with self._translated():
            return bool(self._http.get(self._answered, f"/v1/agent/service/{service_id}", headers=self._headers()))

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

    def _headers(self) -> dict[str, str]:
        return {"X-Consul-Token": self.token} if self.token else {}

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        import requests  # noqa: PLC0415 loaded by then

        errors = self._errors
        self._http.timeout = self.timeout_s  # without one it would wait forever
        try:
            yield
        except (errors.BadRequest, errors.ACLDisabled, errors.ACLPermissionDenied, errors.ClientError) as error:
            raise RegistrationRefused(str(error)) from error
        except (errors.ConsulException, requests.RequestException, OSError) as error:  # OSError: a certificate's file that is not there
            raise AgentUnavailable(reason_of(error)) from error


def reason_of(error: BaseException) -> str:
    """What lies below the layers of a client library: the system's own words, if they are in it."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below.strerror
        below = below.__context__
    return str(error) or type(error).__name__
