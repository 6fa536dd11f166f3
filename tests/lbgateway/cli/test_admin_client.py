"""The commands that talk to a running gateway: against the real application, without a socket."""

import json
from argparse import Namespace

import httpx
import pytest

from lbgateway.cli import admin_client
from lbgateway.cli.admin_client import AdminError, base_url, routes, upstreams
from lbgateway.controlplane.admin_auth import AdminAccess
from lbgateway.controlplane.app import ControlPlaneSettings, build_app
from tests.support.asgi_bridge import AsgiBridge
from tests.support.fake_gateway import FakeGateway, instance, route


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    """The tester's own settings are not ours."""
    monkeypatch.delenv("LBGATEWAY_ADMIN_URL", raising=False)
    monkeypatch.delenv("LBGATEWAY_ADMIN_TOKEN", raising=False)


def gateway(access: AdminAccess = AdminAccess(token="s3cret")) -> AsgiBridge:  # noqa: B008 a frozen value
    port = FakeGateway({"orders": [instance("o-1"), instance("o-2", state="critical", reason="connection refused")]}, unexposed=["users"])
    port.route_views = [route("/api/orders", "orders", strip_prefix=True)]
    return AsgiBridge(build_app(port, ControlPlaneSettings(admin=access)))


def arguments(**changes) -> Namespace:
    return Namespace(**({"admin": None, "token": "s3cret", "json": False, "service": None} | changes))


def test_upstreams_are_a_table(capsys):
    """One line per instance, then what is registered but not exposed and what to do about it."""
    code = upstreams(arguments(), transport=gateway())

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[0] == "lbgateway 1.2.3; consul: fresh, confirmed 1.2 s ago"
    assert lines[1].split()[:4] == ["SERVICE", "INSTANCE", "ADDRESS", "STATE"]
    assert lines[2].split()[:4] == ["orders", "o-1", "10.0.0.7:9001", "ready"]
    assert lines[3].split()[:4] == ["orders", "o-2", "10.0.0.7:9001", "critical"]
    assert lines[3].endswith("connection refused")
    assert lines[4].startswith("users: Registered, but not exposed")
    assert "lbgateway.enable=true" in lines[4]


def test_one_service_is_shown_with_more_about_it(capsys):
    """Its balancer and breaker, and more columns."""
    code = upstreams(arguments(service="orders"), transport=gateway())

    out = capsys.readouterr().out
    assert code == 0
    assert "orders: balancer ewma, discovery fresh at index 182, breaker closed, 12.0 requests/s" in out
    assert "P99" in out


def test_routes_are_a_table(capsys):
    """Where a path leads."""
    code = routes(arguments(), transport=gateway())

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[1].split() == ["*", "/api/orders", "*", "orders", "strip", "prefix", "none", "file", "ok"]


@pytest.mark.parametrize(
    ("command", "changes", "key"),
    [(routes, {}, "routes"), (upstreams, {}, "services"), (upstreams, {"service": "orders"}, "instances")],
)
def test_json_is_the_api_s_own(capsys, command, changes, key):
    """For programs: nothing is left out."""
    code = command(arguments(json=True, **changes), transport=gateway())

    assert code == 0
    assert json.loads(capsys.readouterr().out)[key]


def test_token_and_address_may_come_from_the_environment(capsys, monkeypatch):
    """Arguments win over it."""
    bridge = gateway()
    monkeypatch.setenv("LBGATEWAY_ADMIN_URL", "http://gateway.example:81/")
    monkeypatch.setenv("LBGATEWAY_ADMIN_TOKEN", "s3cret")

    assert routes(arguments(token=None), transport=bridge) == 0
    assert routes(arguments(token="wrong", admin="http://other.example"), transport=bridge) == 1
    assert [str(url) for url in bridge.asked] == ["http://gateway.example:81/admin/routes", "http://other.example/admin/routes"]


@pytest.mark.parametrize(
    ("access", "token", "says"),
    [
        (AdminAccess(token="s3cret"), None, "wants the admin token: pass admin.token of its configuration with --token or"),
        (AdminAccess(token="s3cret"), "wrong", "does not accept this token"),
        (AdminAccess(token="s3cret"), "schlüssel", "does not accept this token"),
        (AdminAccess(), None, "set admin.token in the gateway's configuration to open it. Then pass the token with --token"),
        (AdminAccess(verify=lambda token: {"scope": "read"}), "poor", 'lacks the scope "admin"'),
    ],
)
def test_a_refusal_says_what_to_do(capsys, access, token, says):
    """On stderr, with exit code 1."""
    code = upstreams(arguments(token=token), transport=gateway(access))

    captured = capsys.readouterr()
    assert code == 1
    assert captured.out == ""
    assert captured.err.startswith("lbgateway: the gateway at http://127.0.0.1:8080 ")
    assert says in captured.err


@pytest.mark.parametrize(
    ("service", "says"),
    [("nothing", 'There is no service "nothing".'), ("users", "lbgateway.enable=true"), ("a/b?c", "Nothing is served here")],
)
def test_a_service_that_is_not_there_is_a_no(capsys, service, says):
    """Exit code 1 with the gateway's own words."""
    code = upstreams(arguments(service=service), transport=gateway())

    assert code == 1
    assert says in capsys.readouterr().err


class Raising(httpx.BaseTransport):
    """A network where nothing works."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise self.error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (httpx.ConnectError("[Errno 111] Connection refused"), "answers at http://127.0.0.1:8080: Connection refused. Is it running?"),
        (httpx.ReadTimeout("timed out"), "does not answer within 10 s"),
        (httpx.RemoteProtocolError("broken"), "cannot be asked: broken"),
    ],
)
def test_an_unreachable_gateway_is_a_sentence(capsys, error, says):
    """No traceback, and where else to look."""
    code = routes(arguments(), transport=Raising(error))

    err = capsys.readouterr().err
    assert code == 1
    assert says in err
    assert "LBGATEWAY_ADMIN_URL" in err


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.Response(200, text="<html>"), "is not a lbgateway"),
        (httpx.Response(200, json=[]), "is not a lbgateway"),
        (httpx.Response(404, text="<html>"), "there is no admin API at"),
        (httpx.Response(502, text="<html>"), "answered 502 Bad Gateway"),
        (httpx.Response(302, headers={"location": "/login"}), "answered 302"),
    ],
)
def test_something_else_at_that_address_is_noticed(capsys, answer, says):
    """A web server, a dashboard, another gateway."""
    code = routes(arguments(), transport=httpx.MockTransport(lambda request: answer))

    assert code == 1
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://a:1/", "http://a:1"),
        ("a:8080", "http://a:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("https://a/gateway/", "https://a/gateway"),
    ],
)
def test_an_address_may_be_short(text, url):
    """A scheme is not needed, a slash at the end is no matter."""
    assert base_url(text) == url


@pytest.mark.parametrize("text", ["ftp://a", "http://", "http://a:x", "http://a:99999", "http://[::1", "", "/admin"])
def test_an_address_that_is_none_is_wrong_usage(text):
    """Exit code 2, with an example."""
    with pytest.raises(AdminError) as error:
        base_url(text)

    assert error.value.exit_code == 2
    assert admin_client.DEFAULT_URL in str(error.value)


def test_wrong_usage_is_the_exit_code(capsys):
    """Before anything is asked."""
    assert routes(arguments(admin="ftp://a"), transport=Raising(AssertionError())) == 2
    assert "ftp://a" in capsys.readouterr().err
