"""Registration as Consul does it, asked of the development registry and of a real Consul alike."""

from __future__ import annotations

import pytest

from tests.support.registry_client import RegistryClient, normal


def test_a_registered_service_is_visible_at_once_with_all_defaults(registry: RegistryClient, name: str) -> None:
    """Name and TTL are enough: the id is the name, weights are 1, and it is critical until it is heard of."""
    registry.register(Name=name, Port=80, Check={"TTL": "10s"})
    (entry,) = registry.health(name)

    node = entry["Node"].pop("Node")
    assert entry["Node"] == {
        "Address": "127.0.0.1",
        "Datacenter": "dc1",
        "TaggedAddresses": dict.fromkeys(("lan", "lan_ipv4", "wan", "wan_ipv4"), "127.0.0.1"),
        "Meta": {"consul-network-segment": ""},
    }
    assert entry["Service"] == {
        "ID": name,
        "Service": name,
        "Tags": [],
        "Address": "",
        "Meta": None,
        "Port": 80,
        "Weights": {"Passing": 1, "Warning": 1},
        "EnableTagOverride": False,
        "Proxy": {"MeshGateway": {}, "Expose": {}},
        "Connect": {},
    }
    common = {"Node": node, "Notes": "", "ServiceTags": [], "Definition": {}}
    serf = {"CheckID": "serfHealth", "Name": "Serf Health Status", "Status": "passing", "ServiceID": "", "ServiceName": "", "Type": ""}
    own = {"CheckID": f"service:{name}", "Name": f"Service '{name}' check", "Status": "critical", "ServiceID": name, "ServiceName": name}
    assert entry["Checks"] == [serf | common, own | common | {"Type": "ttl"}]


def test_the_catalogue_shows_the_same_service_flattened(registry: RegistryClient, name: str) -> None:
    """Address, weights, meta and tags as registered; an IP number becomes a tagged address, too."""
    registry.register(Name=name, ID=f"{name}-1", Address="10.0.0.7", Port=80, Tags=["a", "b"], Meta={"k": "v"}, Weights={"Passing": 3})
    (row,) = normal(registry.get(f"catalog/service/{name}").json())
    place = {"Address": "10.0.0.7", "Port": 80}

    assert {key: row[key] for key in row if key.startswith("Service")} == {
        "ServiceKind": "",
        "ServiceID": f"{name}-1",
        "ServiceName": name,
        "ServiceTags": ["a", "b"],
        "ServiceAddress": "10.0.0.7",
        "ServiceTaggedAddresses": {"lan_ipv4": place, "wan_ipv4": place},
        "ServiceWeights": {"Passing": 3, "Warning": 0},
        "ServiceMeta": {"k": "v"},
        "ServicePort": 80,
        "ServiceEnableTagOverride": False,
        "ServiceProxy": {"MeshGateway": {}, "Expose": {}},
        "ServiceConnect": {},
    }
    assert sorted(registry.get("catalog/services").json()[name]) == ["a", "b"], "Consul gathers these in a map: no order is promised"


def test_instances_of_one_service_are_told_apart_by_their_ids(registry: RegistryClient, name: str) -> None:
    """Two ids are two instances, in the order of the ids; the same id again replaces the instance."""
    registry.register(Name=name, ID=f"{name}-2", Port=2)
    registry.register(Name=name, ID=f"{name}-1", Port=1)
    registry.register(Name=name, ID=f"{name}-2", Port=3)

    assert [(entry["Service"]["ID"], entry["Service"]["Port"]) for entry in registry.health(name)] == [(f"{name}-1", 1), (f"{name}-2", 3)]


def test_keys_are_read_in_any_case_and_in_snake_case(registry: RegistryClient, name: str) -> None:
    """Client libraries write them in three ways."""
    check = {"ttl": "10s", "CHECKID": f"{name}-check", "deregister_critical_service_after": "90m", "notes": "n"}
    addresses = {"lan": {"address": "10.1.1.1", "port": 7}}
    registry.register(name=name, Id=f"{name}-x", PORT=5, enable_tag_override=True, tagged_addresses=addresses, check=check)
    (entry,) = registry.health(name)

    assert (entry["Service"]["ID"], entry["Service"]["Port"], entry["Service"]["EnableTagOverride"]) == (f"{name}-x", 5, True)
    assert entry["Service"]["TaggedAddresses"] == {"lan": {"Address": "10.1.1.1", "Port": 7}}
    assert (entry["Checks"][1]["CheckID"], entry["Checks"][1]["Notes"]) == (f"{name}-check", "n")


@pytest.mark.parametrize(
    ("body", "status", "beginning"),
    [
        (b"", 400, "Request decode failed: EOF"),
        (b"{", 400, "Request decode failed: unexpected EOF"),
        (b"hello", 400, "Request decode failed: invalid character 'h' looking for beginning of value"),
        (b"[]", 400, "Request decode failed: json: cannot unmarshal array into Go value of type"),
        (b"null", 400, "Missing service name"),
        (b'{"ID":"x"}', 400, "Missing service name"),
        (b'{"Name":"a","Bogus":1}', 400, 'Request decode failed: json: unknown field "Bogus"'),
        (b'{"Name":"a","Check":{"TTL":"1s","Bogus":1}}', 400, 'Request decode failed: json: unknown field "Bogus"'),
        (b'{"Name":1}', 400, "Request decode failed: json: cannot unmarshal number into Go struct field .Name of type string"),
        (b'{"Name":"a","Port":"80"}', 400, "Request decode failed: json: cannot unmarshal string into Go struct field .Port of type int"),
        (b'{"Name":"a","Port":80.5}', 400, "Request decode failed: json: cannot unmarshal number 80.5 into Go struct field .Port"),
        (
            b'{"Name":"a","Tags":"x"}',
            400,
            "Request decode failed: json: cannot unmarshal string into Go struct field .Tags of type []string",
        ),
        (b'{"Name":"a","Address":"0.0.0.0"}', 400, "Invalid service address"),
        (b'{"Name":"a","Meta":{"a.b":"c"}}', 400, "Invalid Service Meta: Couldn't load metadata pair ('a.b', 'c'): Key contains invalid"),
        (b'{"Name":"a","Meta":{"consul-x":"c"}}', 400, "Invalid Service Meta: Couldn't load metadata pair ('consul-x', 'c'): Key prefix"),
        (b'{"Name":"a","Weights":{"Passing":0}}', 400, "Invalid Weights: Passing must be greater than 0"),
        (b'{"Name":"a","Weights":{"Passing":1,"Warning":-1}}', 400, "Invalid Weights: Warning must be greater or equal than 0"),
        (b'{"Name":"a","Check":{"TTL":"abc"}}', 400, 'Request decode failed: time: invalid duration "abc"'),
        (b'{"Name":"a","Check":{"TTL":"10"}}', 400, 'Request decode failed: time: missing unit in duration "10"'),
        (b'{"Name":"a","Check":{"TTL":"-5s"}}', 400, "Invalid check: TTL must be > 0 for TTL checks"),
        (b'{"Name":"a","Check":{"HTTP":"http://127.0.0.1:1"}}', 400, "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks"),
        (b'{"Name":"a","Check":{"TTL":"1s","Interval":"1s"}}', 400, "Invalid check: Interval and TTL cannot both be specified"),
        (b'{"Name":"a","Check":{"TTL":"1s","Status":"bogus"}}', 400, "Status for checks must 'passing', 'warning', 'critical'"),
        (b'{"Name":"a","Check":{"Args":["true"],"Interval":"1s"}}', 500, "Scripts are disabled on this agent from remote calls"),
    ],
)
def test_a_bad_registration_is_refused_in_the_same_words(registry: RegistryClient, body: bytes, status: int, beginning: str) -> None:
    """A developer who meets the message first in the demo knows it later in production."""
    answer = registry.put("agent/service/register", body)

    assert (answer.status_code, answer.text[: len(beginning)]) == (status, beginning)
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    "extra", [{"Check": {}}, {"Port": 70000}, {"Address": "not an ip"}, {"Check": {"TTL": "10s", "Status": "passing"}}, {"Weights": None}]
)
def test_what_looks_odd_but_is_accepted(registry: RegistryClient, name: str, extra: dict[str, object]) -> None:
    """The registry is no stricter than Consul either."""
    registry.register(Name=name, **extra)
    assert len(registry.health(name)) == 1


@pytest.mark.parametrize(
    ("checks", "ids"),
    [
        ({"Check": {"TTL": "10s"}}, ["service:%s"]),
        ({"Checks": [{"TTL": "10s"}, {"TTL": "20s"}]}, ["service:%s:1", "service:%s:2"]),
        ({"Check": {"TTL": "10s"}, "Checks": [{"TTL": "20s", "CheckID": "x-own"}]}, ["service:%s:1", "x-own"]),
    ],
)
def test_checks_get_their_ids_from_the_service_and_their_number(registry: RegistryClient, name: str, checks: dict, ids: list[str]) -> None:
    """A heartbeat must know the id without asking."""
    registry.register(Name=name, **checks)
    assert sorted(registry.statuses(name)) == [each.replace("%s", name) for each in ids]


def test_registering_again_keeps_status_and_index(registry: RegistryClient, name: str) -> None:
    """A service that re-registers at each start neither flaps nor wakes anybody."""
    definition = {"Name": name, "Check": {"TTL": "10s", "Status": "passing"}}
    registry.register(**definition)
    registry.put(f"agent/check/fail/service:{name}")
    before = registry.index(f"health/service/{name}")
    registry.register(**definition)

    assert registry.statuses(name) == {f"service:{name}": "critical"}
    assert registry.index(f"health/service/{name}") == before


def test_checks_of_a_former_registration_stay_unless_they_are_replaced(registry: RegistryClient, name: str) -> None:
    """Without ``replace-existing-checks`` a forgotten check keeps an instance critical."""
    registry.register(Name=name, Check={"TTL": "10s", "CheckID": f"{name}-old"})
    registry.register(Name=name, Check={"TTL": "10s", "CheckID": f"{name}-new"})
    assert sorted(registry.statuses(name)) == [f"{name}-new", f"{name}-old"]

    registry.put("agent/service/register?replace-existing-checks=true", {"Name": name, "Check": {"TTL": "10s", "CheckID": f"{name}-new"}})
    assert sorted(registry.statuses(name)) == [f"{name}-new"]


def test_deregistering_succeeds_whether_or_not_there_is_anything(registry: RegistryClient, name: str) -> None:
    """Whoever signs off twice, or after the registry lost its memory, is not told off."""
    registry.register(Name=name, Check={"TTL": "10s"})
    for _ in range(2):
        answer = registry.put(f"agent/service/deregister/{name}")
        assert (answer.status_code, answer.content) == (200, b"")
    assert registry.health(name) == []
    assert name not in registry.get("catalog/services").json()
    assert registry.put(f"agent/check/deregister/{name}").status_code == 200


def test_an_agent_takes_registrations_whatever_datacenter_they_name(registry: RegistryClient, name: str) -> None:
    """It has only one."""
    assert registry.put("agent/service/register", {"Name": name}, params={"dc": "nowhere"}).status_code == 200
    assert len(registry.health(name)) == 1


def test_names_and_tags_are_matched_whatever_their_case(registry: RegistryClient, name: str) -> None:
    """Several tags must all be there."""
    registry.register(Name=name, Tags=["Blue", "v2"])

    assert len(registry.health(name.upper())) == 1
    assert len(registry.health(name, "tag=blue&tag=V2")) == 1
    assert registry.health(name, "tag=blue&tag=red") == []


def test_ids_may_hold_what_a_path_has_to_escape(registry: RegistryClient, name: str) -> None:
    """Slashes, spaces and umlauts survive the way through the URL."""
    registry.register(Name=name, ID=f"{name}/ä b", Check={"TTL": "10s"})
    assert registry.put(f"agent/check/pass/service:{name}%2F%C3%A4%20b").status_code == 200
    assert registry.get(f"agent/service/{name}%2F%C3%A4%20b").json()["ID"] == f"{name}/ä b"


def test_the_agent_lists_its_own_services_and_checks(registry: RegistryClient, name: str) -> None:
    """By id, and without Consul's own service; an unknown one is 404."""
    registry.register(Name=name, ID=f"{name}-1", Check={"TTL": "10s"})
    service = {"ID": f"{name}-1", "Service": name, "Tags": [], "Meta": {}, "Port": 0, "Address": ""}
    service |= {"Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": False}
    services = registry.get("agent/services").json()

    assert services[f"{name}-1"] == service
    assert "consul" not in services
    assert registry.get("agent/checks").json()[f"service:{name}-1"]["ServiceID"] == f"{name}-1"
    assert normal(registry.get(f"agent/service/{name}-1").json()) == service
    missing = registry.get("agent/service/nobody")
    assert (missing.status_code, missing.text) == (404, "unknown service ID: nobody")


def test_status_and_self_say_who_is_there(registry: RegistryClient) -> None:
    """What clients ask first to see whether a Consul answers."""
    leader = registry.get("status/leader").json()
    config = registry.get("agent/self").json()["Config"]

    assert registry.get("status/peers").json() == [leader]
    assert registry.get("catalog/datacenters").json() == [config["Datacenter"]] == ["dc1"]
    assert [node["Node"] for node in registry.get("catalog/nodes").json()] == [config["NodeName"]]
    assert [member["Name"] for member in registry.get("agent/members").json()] == [config["NodeName"]]
    assert registry.get("catalog/services").json()["consul"] == []


@pytest.mark.parametrize(
    ("method", "path", "status", "allow", "text"),
    [
        ("GET", "/v1/agent/service/register", 405, "OPTIONS,PUT", "method GET not allowed"),
        ("DELETE", "/v1/health/service/x", 405, "OPTIONS,GET", "method DELETE not allowed"),
        ("HEAD", "/v1/agent/services", 405, "OPTIONS,GET", ""),
        ("OPTIONS", "/v1/health/service/x", 200, "OPTIONS,GET", ""),
        ("GET", "/v1/nowhere", 404, None, ""),
        ("GET", "/v1/health/service/", 400, None, "Missing service name"),
    ],
)
def test_paths_and_methods_that_are_not_served(
    registry: RegistryClient, method: str, path: str, status: int, allow: str | None, text: str
) -> None:
    """405 names what is allowed, 404 says nothing."""
    answer = registry.http.request(method, path)
    assert (answer.status_code, answer.headers.get("Allow"), answer.text) == (status, allow, text)


def test_answers_are_compressed_for_those_who_can_read_it(registry: RegistryClient) -> None:
    """A watcher of many instances sees a fraction of the bytes."""
    assert registry.get("catalog/nodes", headers={"Accept-Encoding": "gzip"}).headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in registry.get("catalog/nodes", headers={"Accept-Encoding": "identity"}).headers
