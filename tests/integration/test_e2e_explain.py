"""``X-Gateway-Explain`` at a gateway process: an operator sends what a client sends, and reads what was decided."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

import jwt

from tests.support.gateway_process import GatewayProcess
from tests.support.launch import free_ports, wait_until
from tests.support.upstream_server import UpstreamServer, UpstreamThread, echo

SECRET, ADMIN = "a secret of thirty-two bytes or more", "an-admin-token-that-nobody-guesses"


def token(**claims: Any) -> str:
    return jwt.encode({"exp": int(time.time()) + 600, **claims}, SECRET, algorithm="HS256")


def config(upstream: UpstreamServer, **admin: Any) -> dict[str, Any]:
    return {
        "discovery": {"provider": "static"},
        "auth": {"default": "required", "jwt": {"algorithms": ["HS256"], "secret": SECRET}},
        "services": {"orders": {"instances": [upstream.address]}},
        "admin": {"token": ADMIN, "allow_loopback": False, **admin},
    }


def asked(gateway: GatewayProcess, **fields: str) -> tuple[int, list[str], bytes]:
    """Status, what was explained, and the body; fields with underscores for dashes."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
    connection.request("GET", "/api/orders/1", headers={name.replace("_", "-"): value for name, value in fields.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.msg.get_all("X-Gateway-Explain") or [], body


def test_an_operator_explains_a_clients_request_with_the_clients_own_token() -> None:
    """The admin token goes with the field, the client's where it always goes; neither the service nor the log hears of the first."""
    with UpstreamThread(echo) as upstream, GatewayProcess(config(upstream)) as gateway:
        client = f"Bearer {token(sub='ann')}"
        status, lines, body = asked(gateway, Authorization=client, X_Gateway_Explain=f"Bearer {ADMIN}")
        assert status == 200
        assert [line.partition(";")[0] for line in lines] == ["route", "identity", "service", "pick", "attempt", "answer"]
        assert 'subject="ann"' in lines[1]
        assert "explain" not in json.dumps(json.loads(body)).lower()
        assert ADMIN not in gateway.log()
        status, lines, _ = asked(gateway, Authorization="Bearer expired", X_Gateway_Explain=f"Bearer {ADMIN}")
        assert status == 401
        assert 'error="unauthenticated"' in lines[-1]


def test_a_token_with_the_admin_scope_explains_its_own_request_and_no_other_token_does() -> None:
    """As at /admin; whoever may not know is answered as if nobody had asked."""
    with UpstreamThread(echo) as upstream, GatewayProcess(config(upstream)) as gateway:
        status, lines, _ = asked(gateway, Authorization=f"Bearer {token(sub='ops', scope='admin')}", X_Gateway_Explain="1")
        assert (status, len(lines)) == (200, 6)
        for mine in ("1", "Bearer wrong", f"Bearer {token(sub='ann')}"):
            status, lines, body = asked(gateway, Authorization=f"Bearer {token(sub='ann')}", X_Gateway_Explain=mine)
            assert (status, lines) == (200, [])
            assert "explain" not in json.dumps(json.loads(body)).lower()


def test_the_loopback_may_ask_where_the_operators_door_is_open_to_it_on_that_port() -> None:
    """With a port of their own for operators it may not: there only a token opens."""
    with UpstreamThread(echo) as upstream:
        client = f"Bearer {token(sub='ann')}"
        with GatewayProcess(config(upstream, allow_loopback=True)) as gateway:
            assert len(asked(gateway, Authorization=client, X_Gateway_Explain="1")[1]) == 6
        with GatewayProcess(config(upstream, allow_loopback=True, listen=f"127.0.0.1:{free_ports(1)[0]}")) as gateway:
            assert asked(gateway, Authorization=client, X_Gateway_Explain="1")[1] == []
            assert len(asked(gateway, Authorization=client, X_Gateway_Explain=f"Bearer {ADMIN}")[1]) == 6


def test_another_admin_token_counts_from_the_reload_on() -> None:
    """The one before opens nothing any more."""
    with UpstreamThread(echo) as upstream, GatewayProcess(config(upstream)) as gateway:
        client, next_one = f"Bearer {token(sub='ann')}", "the-next-token-of-an-operator"
        assert asked(gateway, Authorization=client, X_Gateway_Explain=f"Bearer {next_one}")[1] == []
        gateway.reload(config(upstream, token=next_one))
        wait_until(lambda: len(asked(gateway, Authorization=client, X_Gateway_Explain=f"Bearer {next_one}")[1]) == 6, 10, gateway.story)
        assert asked(gateway, Authorization=client, X_Gateway_Explain=f"Bearer {ADMIN}")[1] == []
