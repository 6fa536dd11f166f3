"""Checks, their results and maintenance, asked of the development registry and of a real Consul alike."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.support.registry_client import RegistryClient, eventually


class Checked(HTTPServer):
    """Answers each request with the status that a test sets."""

    status = 200


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b"as told")

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def checked() -> Iterator[Checked]:
    """A service whose health a test decides over."""
    with Checked(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("verb", "status"), [("pass", "passing"), ("warn", "warning"), ("fail", "critical")])
def test_a_heartbeat_sets_the_status(registry: RegistryClient, name: str, verb: str, status: str) -> None:
    """Its note becomes the output."""
    registry.register(Name=name, Check={"TTL": "10s"})
    answer = registry.put(f"agent/check/{verb}/service:{name}?note=as+told")

    assert (answer.status_code, answer.content) == (200, b"")
    assert registry.statuses(name) == {f"service:{name}": status}
    assert registry.get("agent/checks").json()[f"service:{name}"]["Output"] == "as told"


def test_an_update_sets_status_and_output_by_body(registry: RegistryClient, name: str) -> None:
    """The same as a heartbeat, for outputs that do not fit into a URL."""
    registry.register(Name=name, Check={"TTL": "10s"})
    assert registry.put(f"agent/check/update/service:{name}", {"Status": "warning", "Output": "slow"}).status_code == 200
    assert registry.statuses(name) == {f"service:{name}": "warning"}
    refused = registry.put(f"agent/check/update/service:{name}", {"Status": "bogus"})
    assert (refused.status_code, refused.text) == (400, "Invalid check status: 'bogus'")


@pytest.mark.parametrize("output", ["y" * 4096, "z" * 4097, "é" * 3000])
def test_an_output_is_cut_after_4_kib_and_says_so(registry: RegistryClient, name: str, output: str) -> None:
    """Bytes are counted, not characters."""
    registry.register(Name=name, Check={"TTL": "10s"})
    registry.put(f"agent/check/update/service:{name}", {"Status": "warning", "Output": output})
    size = len(output.encode())
    kept = output if size <= 4096 else output.encode()[:4096].decode() + f" ... (captured 4096 of {size} bytes)"
    assert registry.get("agent/checks").json()[f"service:{name}"]["Output"] == kept


def test_a_heartbeat_for_an_unknown_check_says_so(registry: RegistryClient) -> None:
    """By this answer a service learns that the registry has lost its memory."""
    answer = registry.put("agent/check/pass/service:nobody")
    assert (answer.status_code, answer.text) == (500, 'CheckID "service:nobody" does not have associated TTL')


def test_a_check_that_is_silent_for_its_time_turns_critical(registry: RegistryClient, name: str) -> None:
    """Each heartbeat winds the clock up again."""
    registry.register(Name=name, Check={"TTL": "500ms"})
    heard = [registry.put(f"agent/check/pass/service:{name}")]
    time.sleep(0.3)
    heard.append(registry.put(f"agent/check/pass/service:{name}"))
    time.sleep(0.3)

    assert registry.statuses(name) == {f"service:{name}": "passing"}
    eventually(lambda: registry.statuses(name) == {f"service:{name}": "critical"}, seconds=1)
    assert registry.get(f"health/checks/{name}").json()[0]["Output"] == "TTL expired"


def test_an_http_check_follows_the_status_of_the_service(registry: RegistryClient, name: str, checked: Checked) -> None:
    """2xx is passing, 429 a warning, anything else critical."""
    url = f"http://127.0.0.1:{checked.server_port}/health"
    registry.register(Name=name, Check={"HTTP": url, "Interval": "1s", "Timeout": "1s"})
    for code, status in ((200, "passing"), (429, "warning"), (500, "critical")):
        checked.status = code
        eventually(lambda status=status: registry.statuses(name) == {f"service:{name}": status})
    assert "500" in registry.get(f"health/checks/{name}").json()[0]["Output"]
    refused = registry.put(f"agent/check/pass/service:{name}")
    assert refused.text == f'CheckID "service:{name}" does not have associated TTL'


def test_a_check_of_nobody_is_critical(registry: RegistryClient, name: str) -> None:
    """A port that nobody listens on is critical for HTTP and for TCP."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        checks = [
            {"HTTP": f"http://{place}/", "Interval": "1s", "Status": "passing"},
            {"TCP": place, "Interval": "1s", "Status": "passing"},
        ]
        registry.register(Name=name, Checks=checks)
        eventually(lambda: set(registry.statuses(name).values()) == {"critical"})


def test_a_tcp_check_passes_where_a_connection_is_accepted(registry: RegistryClient, name: str) -> None:
    """Nothing is sent."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        registry.register(Name=name, Check={"TCP": f"127.0.0.1:{listening.getsockname()[1]}", "Interval": "1s"})
        eventually(lambda: registry.statuses(name) == {f"service:{name}": "passing"})


def test_a_check_may_be_added_to_a_service_and_taken_away(registry: RegistryClient, name: str) -> None:
    """It counts like one that came with the registration."""
    registry.register(Name=name)
    added = registry.put("agent/check/register", {"Name": f"{name}-extra", "ServiceID": name, "TTL": "10s", "Status": "passing"})
    assert (added.status_code, registry.statuses(name)) == (200, {f"{name}-extra": "passing"})
    registry.put(f"agent/check/deregister/{name}-extra")
    assert registry.statuses(name) == {}


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "Missing check name"),
        ({"Name": "x"}, 400, "Invalid check: TTL must be > 0 for TTL checks"),
        ({"Name": "x", "TTL": "1s", "ServiceID": "nobody"}, 500, 'ServiceID "nobody" does not exist'),
        ({"Name": "x", "TTL": "1s", "CheckID": "y"}, 400, 'Request decode failed: json: unknown field "CheckID"'),
    ],
)
def test_a_bad_check_is_refused_in_the_same_words(registry: RegistryClient, body: dict[str, str], status: int, text: str) -> None:
    """As for services."""
    answer = registry.put("agent/check/register", body)
    assert (answer.status_code, answer.text) == (status, text)


def test_maintenance_is_a_critical_check_with_the_reason_as_its_note(registry: RegistryClient, name: str) -> None:
    """On and off; the first reason stays; the checks of the service go on meanwhile."""
    registry.register(Name=name, Check={"TTL": "10s", "Status": "passing"})
    for reason in ("moving", "again"):
        assert registry.put(f"agent/service/maintenance/{name}?enable=true&reason={reason}").status_code == 200
    check = next(one for one in registry.get(f"health/checks/{name}").json() if one["CheckID"] == f"_service_maintenance:{name}")

    assert (check["Status"], check["Type"], check["Notes"], check["Name"]) == (
        "critical",
        "maintenance",
        "moving",
        "Service Maintenance Mode",
    )
    assert registry.statuses(name)[f"service:{name}"] == "passing"
    registry.put(f"agent/service/maintenance/{name}?enable=false")
    assert registry.statuses(name) == {f"service:{name}": "passing"}


def test_maintenance_of_the_node_concerns_every_service_on_it(registry: RegistryClient, name: str) -> None:
    """Without a reason a sentence says that there is none."""
    registry.register(Name=name)
    try:
        assert registry.put("agent/maintenance?enable=true").status_code == 200
        checks = {check["CheckID"]: check for check in registry.health(name)[0]["Checks"]}
    finally:
        registry.put("agent/maintenance?enable=false")
    assert checks["_node_maintenance"]["Notes"].startswith("Maintenance mode is enabled for this node, but no reason was provided")
    assert "_node_maintenance" not in {check["CheckID"] for check in registry.health(name)[0]["Checks"]}


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("agent/service/maintenance/x", 400, "Missing value for enable"),
        ("agent/service/maintenance/x?enable=perhaps", 400, 'Invalid value for enable: "perhaps"'),
        ("agent/service/maintenance/?enable=true", 400, "Missing service ID"),
        ("agent/service/maintenance/nobody?enable=true", 404, 'No service registered with ID "nobody"'),
        ("agent/maintenance", 400, "Missing value for enable"),
    ],
)
def test_bad_maintenance_is_refused_in_the_same_words(registry: RegistryClient, path: str, status: int, text: str) -> None:
    """As for services."""
    answer = registry.put(path)
    assert (answer.status_code, answer.text) == (status, text)


def test_only_passing_instances_on_request(registry: RegistryClient, name: str) -> None:
    """One bad check of the instance, or of the node, is enough to be left out."""
    registry.register(Name=name, ID=f"{name}-good", Check={"TTL": "10s", "Status": "passing"})
    registry.register(Name=name, ID=f"{name}-bad", Check={"TTL": "10s"})

    for query, expected in (("passing", 1), ("passing=true", 1), ("passing=false", 2), ("", 2)):
        assert len(registry.health(name, query)) == expected
    assert registry.get(f"health/service/{name}?passing=perhaps").text == "Invalid value for ?passing"


@pytest.mark.parametrize(("verb", "status", "reason"), [("pass", 200, "passing"), ("warn", 429, "warning"), ("fail", 503, "critical")])
def test_the_agent_tells_a_services_health_by_status_code(registry: RegistryClient, name: str, verb: str, status: int, reason: str) -> None:
    """For load balancers that understand nothing but status codes."""
    registry.register(Name=name, Check={"TTL": "10s"})
    registry.put(f"agent/check/{verb}/service:{name}")
    for path, entry in ((f"name/{name}", lambda body: body[0]), (f"id/{name}", lambda body: body)):
        answer = registry.get(f"agent/health/service/{path}")
        assert (answer.status_code, answer.headers["X-Consul-Reason"]) == (status, reason)
        assert entry(answer.json())["AggregatedStatus"] == reason
    assert registry.get("agent/health/service/name/nobody").status_code == 404


def test_checks_can_be_listed_by_state_and_by_node(registry: RegistryClient, name: str) -> None:
    """Checks of services and of the node alike."""
    registry.register(Name=name, Check={"TTL": "10s", "Status": "warning"})
    node = registry.get("catalog/nodes").json()[0]["Node"]

    def ids(path: str) -> set[str]:
        return {check["CheckID"] for check in registry.get(path).json()}

    assert {f"service:{name}", "serfHealth"} <= ids("health/state/any") == ids(f"health/node/{node}")
    assert f"service:{name}" in ids("health/state/warning")
    assert f"service:{name}" not in ids("health/state/passing")
    assert ids("health/state/bogus") == ids("health/node/nobody") == set()
