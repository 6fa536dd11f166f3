"""The commands that talk to a running gateway: against the real application, without a socket."""

import json
from argparse import Namespace

import httpx
import pytest
import structlog

from lbgateway.cli import admin_client
from lbgateway.cli.admin_client import AdminError, base_url, explain, paged, routes, upstreams
from lbgateway.controlplane.admin_auth import AdminAccess
from lbgateway.controlplane.app import ControlPlaneSettings, build_app
from lbgateway.policies.identity import Identity
from tests.support.asgi_bridge import AsgiBridge
from tests.support.fake_gateway import FakeGateway, instance, route


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    """The tester's own settings are not ours."""
    monkeypatch.delenv("LBGATEWAY_ADMIN_URL", raising=False)
    monkeypatch.delenv("LBGATEWAY_ADMIN_TOKEN", raising=False)


@pytest.fixture(autouse=True)
def no_log():
    """The gateway's log goes elsewhere than the command's output: here they would share a process."""
    with structlog.testing.capture_logs():
        yield


def gateway(access: AdminAccess = AdminAccess(token="s3cret")) -> AsgiBridge:  # noqa: B008 a frozen value
    port = FakeGateway({"orders": [instance("o-1"), instance("o-2", state="critical", reason="connection refused")]}, unexposed=["users"])
    port.route_views = [route("/api/orders", "orders", strip_prefix=True)]
    return AsgiBridge(build_app(port, ControlPlaneSettings(admin=access)))


def arguments(**changes) -> Namespace:
    usual = {"admin": None, "token": "s3cret", "cacert": None, "json": False, "service": None, "state": None, "instance": None}
    return Namespace(**(usual | changes))


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


def test_only_instances_in_a_state_are_shown_if_asked_for(capsys):
    """All services, or one; a state that there is not is answered by the gateway with those that there are."""
    for service in (None, "orders"):
        assert upstreams(arguments(state="critical", service=service), transport=gateway()) == 0
        out = capsys.readouterr().out
        assert ("o-2" in out, "o-1" in out) == (True, False)
    assert upstreams(arguments(state="ill"), transport=gateway()) == 2
    assert "state: one of ready," in capsys.readouterr().err


def test_an_explanation_is_a_table(capsys):
    """Who may be picked, at what cost, and why."""
    assert explain(arguments(service="orders"), transport=gateway()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["INSTANCE", "ADDRESS", "STATE", "PICKABLE", "COST", "ACTIVE", "WHY"]
    assert lines[3].split() == ["o-1", "10.0.0.7:9001", "ready", "yes", "1.9", "0", "ready"]
    assert lines[4].split() == ["o-2", "10.0.0.7:9001", "critical", "no", "1.9", "0", "critical"]


def test_one_instance_can_be_explained(capsys):
    """By id or by node and id; if there is none, those that there are are named."""
    for name in ("o-2", "n1:o-2"):
        assert explain(arguments(service="orders", instance=name, json=True), transport=gateway()) == 0
        assert [each["id"] for each in json.loads(capsys.readouterr().out)["instances"]] == ["o-2"]
    assert explain(arguments(service="orders", instance="o-3"), transport=gateway()) == 1
    assert capsys.readouterr().err == 'lbgateway: orders has no instance "o-3"; did you mean `o-2`? It has o-1, o-2.\n'


def test_many_instances_are_fetched_page_by_page(capsys, monkeypatch):
    """And put together: a program that reads the JSON sees one document."""
    monkeypatch.setattr(admin_client, "PAGE", 2)
    port = FakeGateway({"a": [instance(f"a-{n}") for n in range(5)], "b": [], "c": [instance("c-1"), instance("c-2"), instance("c-3")]})
    bridge = AsgiBridge(build_app(port, ControlPlaneSettings(admin=AdminAccess(token="s3cret"))))

    assert upstreams(arguments(json=True), transport=bridge) == 0

    body = json.loads(capsys.readouterr().out)
    assert {each["name"]: [one["id"] for one in each["instances"]] for each in body["services"]} == {
        "a": ["a-0", "a-1", "a-2", "a-3", "a-4"],
        "b": [],
        "c": ["c-1", "c-2", "c-3"],
    }
    assert (body["next_cursor"], len(bridge.asked)) == (None, 4)
    assert upstreams(arguments(json=True, service="a"), transport=bridge) == 0
    body = json.loads(capsys.readouterr().out)
    assert [len(body["instances"]), len(body["services"][0]["instances"])] == [5, 5]


def test_a_gateway_that_knows_no_pages_is_understood():
    """An older one sends everything at once."""
    assert paged(lambda _path: {"services": []}, "/admin/upstreams", {}) == {"services": []}


def test_routes_are_a_table(capsys):
    """Where a path leads."""
    code = routes(arguments(), transport=gateway())

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[1].split() == ["*", "/api/orders", "*", "orders", "strip", "prefix", "none", "-", "file", "ok"]


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
        (AdminAccess(verify=lambda _token, _at_s: Identity({"scope": "read"}, b"", 0.0)), "poor", 'lacks the scope "admin"'),
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
    [
        ("nothing", 'There is no service "nothing".'),
        ("ordes", 'There is no service "ordes"; did you mean `orders`?'),
        ("users", "lbgateway.enable=true"),
        ("a/b?c", "Nothing is served here"),
    ],
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
        (httpx.RemoteProtocolError("broken"), "cannot be asked: broken. Does it speak TLS (https://…)?"),
        (httpx.UnsupportedProtocol("broken"), "cannot be asked: broken. Another address"),
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
