"""JSON of a real Consul, and JSON of a mad one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.consul_body import Health, Reading, decode_catalog, decode_health, decode_key, decode_list
from discovery.errors import MalformedAnswer
from discovery.instance import Instance, InstanceKey, InstanceState
from tests.discovery.fake_consul import entry

RECORDED = Path(__file__).parent / "recorded"
ORDERS = Reading("orders")


def decode(entries: Any, reading: Reading = ORDERS) -> Health:
    return decode_health(json.dumps(entries).encode(), reading)


def one(changed: dict[str, Any]) -> Instance | None:
    """The instance that an entry changed by `changed` becomes; keys like ``Service.Port``."""
    made = entry(1)
    for path, value in changed.items():
        target = made
        *parents, last = path.split(".")
        for parent in parents:
            target = target[parent]
        target[last] = value
    instances = decode([made]).instances
    return instances[0] if instances else None


@pytest.fixture
def recorded() -> dict[tuple[str, str], Instance]:
    """All instances of a recorded answer, by node and id."""
    health = decode_health((RECORDED / "health.json").read_bytes(), Reading("a"))
    assert health.skipped == 0
    return {(i.key.node, i.key.id): i for i in health.instances}


def test_a_recorded_answer_is_understood(recorded: dict[tuple[str, str], Instance]) -> None:
    """Consul 1.8.7: an instance with everything that a registration can say."""
    found = recorded["n1", "a1"]

    assert found == Instance(
        key=InstanceKey("consul", "dc1", "", "n1", "a1"),
        service="a",
        address="127.0.0.1",
        port=9001,
        weight=5,
        tags=("blue", "lbgateway.enable=true"),
        meta={"zone": "z1", "version": "2"},
        zone="z1",
        create_index=found.create_index,
        modify_index=found.modify_index,
    )


@pytest.mark.parametrize(
    ("node", "id_", "state", "status", "weight", "reason"),
    [
        ("n1", "a1", "passing", "passing", 5, None),
        ("n1", "a2", "warning", "warning", 2, "ttl: slow"),
        ("n1", "a3", "critical", "critical", 1, "ttl: out of memory"),
        ("n1", "a4", "maintenance", "maintenance", 1, "upgrade"),
        ("n1", "a5", "passing", "passing", 1, None),
        ("v6", "a6", "critical", "critical", 1, "Serf Health Status: Agent not live or unreachable"),
        ("ext", "a1", "passing", "passing", 1, None),
    ],
)
def test_the_worst_check_decides(recorded, node: str, id_: str, state: str, status: str, weight: int, reason: str | None) -> None:
    """State, weight for that state, and a reason that an operator understands; no check at all is passing."""
    found = recorded[node, id_]

    assert (found.state, found.consul_status, found.weight, found.reason) == (InstanceState(state), status, weight, reason)


def test_places_and_zones_fall_back_to_the_node(recorded: dict[tuple[str, str], Instance]) -> None:
    """A service without address is at its node's; one id on two nodes is two instances; IPv6 is an address."""
    assert recorded["n1", "a2"].address == "127.0.0.1"
    assert (recorded["ext", "a1"].address, recorded["ext", "a1"].zone) == ("10.9.9.9", "z9")
    assert recorded["v6", "a6"].address == "2001:db8::1"


def test_nodes_whose_own_check_fails_are_named() -> None:
    """It tells a lost agent from a lost service."""
    health = decode_health((RECORDED / "health.json").read_bytes(), Reading("a"))

    assert health.nodes_down == {"v6"}


@pytest.mark.parametrize(
    ("checks", "unprobed"),
    [
        ([("http", "critical", "")], True),
        ([("tcp", "critical", ""), ("", "passing", "Agent alive and reachable"), ("ttl", "passing", "")], True),
        ([("http", "critical", ""), ("tcp", "critical", "connection refused")], False),
        ([("http", "critical", "HTTP GET: 500")], False),
        ([("http", "passing", "")], False),
        ([("ttl", "critical", "")], False),
        ([("", "critical", "")], False),
        ([], False),
    ],
)
def test_a_probe_that_has_no_result_yet_is_told_from_a_bad_one(checks: list[tuple[str, str, str]], unprobed: bool) -> None:
    """Only probes of the agent's own: a service that reports itself may well say critical and nothing else."""
    entry = {
        "Node": {"Node": "n1", "Address": "10.0.0.1"},
        "Service": {"ID": "a1", "Port": 80},
        "Checks": [{"CheckID": "c", "Type": kind, "Status": status, "Output": output} for kind, status, output in checks],
    }
    health = decode_health(json.dumps([entry]).encode(), Reading("a"))

    assert health.unprobed == ({health.instances[0].key} if unprobed else set())


def test_a_recorded_catalog_is_understood() -> None:
    """Names with the tags of all their instances."""
    services = decode_catalog((RECORDED / "catalog.json").read_bytes())

    assert services == {"a": frozenset({"blue", "lbgateway.enable=true"}), "consul": frozenset()}


def test_names_of_the_catalog_are_compared_in_lower_case() -> None:
    """Consul does so, too."""
    assert decode_catalog(b'{"Orders": ["a"], "orders": ["b"], "x": null}') == {"orders": frozenset("ab"), "x": frozenset()}


@pytest.mark.parametrize(
    "changed",
    [
        {"Service": None},
        {"Node": "n1"},
        {"Service.ID": ""},
        {"Service.ID": 7},
        {"Node.Node": None},
        {"Service.Port": 0},
        {"Service.Port": 70000},
        {"Service.Port": "80"},
        {"Service.Port": True},
        {"Service.Address": "", "Node.Address": ""},
        {"Service.Address": "a b", "Node.Address": "a\nb"},
    ],
)
def test_an_entry_without_a_place_is_left_out(changed: dict[str, Any]) -> None:
    """It is counted, and the others live."""
    assert one(changed) is None
    broken = entry(1)
    broken["Service"] = None
    health = decode([broken, entry(2), 5, None])
    assert ([i.id for i in health.instances], health.skipped) == (["orders-2"], 3)


@pytest.mark.parametrize(
    ("changed", "field", "value"),
    [
        ({"Service.Meta": None}, "meta", {}),
        ({"Service.Meta": {"a": "b", "c": 1}}, "meta", {"a": "b"}),
        ({"Service.Tags": None}, "tags", ()),
        ({"Service.Tags": ["a", 1, "b"]}, "tags", ("a", "b")),
        ({"Service.Weights": {"Passing": 7}}, "weight", 7),
        ({"Service.Weights": {"Passing": 0}}, "weight", 0),
        ({"Service.Weights": {"Passing": "x"}}, "weight", 1),
        ({"Service.Weights": {"Passing": -1}}, "weight", 1),
        ({"Service.Weights": None}, "weight", 1),
        ({"Service.Namespace": "team"}, "key", InstanceKey("consul", "dc1", "team", "n1", "orders-1")),
        ({"Node.Datacenter": None}, "key", InstanceKey("consul", "", "", "n1", "orders-1")),
        ({"Node.Meta": {"zone": "a"}}, "zone", "a"),
        ({"Node.Meta": {"zone": "a"}, "Service.Meta": {"zone": "b"}}, "zone", "b"),
        ({"Service.Unknown": {}}, "port", 9001),
        ({"Checks": None}, "state", InstanceState.PASSING),
        ({"Checks": [None, 3, {"Status": "passing"}]}, "state", InstanceState.PASSING),
        ({"Checks": [{"Status": "melting"}]}, "state", InstanceState.CRITICAL),
        ({"Checks": [{"CheckID": "_node_maintenance", "Status": "critical"}]}, "state", InstanceState.MAINTENANCE),
        ({"Service.ID": "a\ud800"}, "id", "a?"),
    ],
)
def test_what_is_missing_has_a_default(changed: dict[str, Any], field: str, value: Any) -> None:
    """Null, absent and nonsense are all the same."""
    found = one(changed)

    assert found is not None
    assert getattr(found, field) == value


def test_required_tags_are_all_required() -> None:
    """Regardless of case; another's tags do not count."""
    entries = [entry(1, tags=("Blue", "fast")), entry(2, tags=("blue",)), entry(3)]

    health = decode(entries, Reading("orders", tags=frozenset({"blue", "FAST"})))

    assert [i.id for i in health.instances] == ["orders-1"]


def test_critical_instances_may_be_let_in() -> None:
    """With passing_only off they count as warning, with that weight; maintenance never does."""
    bad = entry(1, status="critical")
    bad["Service"]["Weights"] = {"Passing": 9, "Warning": 2}
    resting = entry(2)
    resting["Checks"][1]["CheckID"] = "_service_maintenance:orders-2"

    lenient = decode([bad, resting], Reading("orders", passing_only=False)).instances

    assert [(i.state, i.consul_status, i.weight) for i in lenient] == [("warning", "critical", 2), ("maintenance", "maintenance", 1)]


def test_instances_come_in_the_order_of_their_keys() -> None:
    """So that equal answers are equal."""
    assert decode([entry(2), entry(1, node="n2"), entry(1)]).instances == decode([entry(1), entry(2), entry(1, node="n2")]).instances


@pytest.mark.parametrize("body", [b"", b"[", b"null", b"{}", b"\xff", b"[" * 100_000, b"[" + b"1" * 5000 + b"]"])
def test_a_body_that_is_no_list_is_refused(body: bytes) -> None:
    """Refused means: the last good answer stays."""
    with pytest.raises(MalformedAnswer):
        decode_health(body, ORDERS)


def test_a_catalog_that_is_no_object_is_refused() -> None:
    """Refused means: the last good answer stays."""
    with pytest.raises(MalformedAnswer):
        decode_catalog(b"[]")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(json_values))
def test_no_json_breaks_the_decoder(entries: list[Any]) -> None:
    """Whatever the entries are, the good one among them is found."""
    health = decode([*entries, entry(1)])

    assert [i.id for i in health.instances] == ["orders-1"]
    assert health.skipped == len(entries)


@given(st.data())
def test_a_damaged_entry_harms_no_other(data: st.DataObject) -> None:
    """Any one value of an entry, at any depth, replaced by anything: the neighbour lives, and all results are sound."""
    damaged = copy.deepcopy(entry(1, tags=("a",)))
    target: Any = damaged
    while True:
        keys = list(target) if isinstance(target, dict) else list(range(len(target)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(target[key], dict | list) and target[key] and data.draw(st.booleans()):
            target = target[key]
            continue
        target[key] = data.draw(json_values)
        break

    health = decode([damaged, entry(2)])

    assert "orders-2" in [i.id for i in health.instances]
    for instance in health.instances:
        assert instance.address
        assert 0 < instance.port < 65536
        assert instance.weight >= 0
        json.dumps(instance.meta).encode()
        instance.id.encode()


@given(json_values)
def test_no_catalog_breaks_the_decoder(value: Any) -> None:
    """It is refused or understood."""
    body = json.dumps(value).encode()
    if isinstance(value, dict):
        assert set(decode_catalog(body)) == {name.encode("utf-8", "replace").decode().lower() for name in value}
    else:
        with pytest.raises(MalformedAnswer):
            decode_catalog(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [(b"[]", None), (b'[{"Value": null}]', b""), (b'[{"Value": "YTogMQ=="}]', b"a: 1"), (b'[{"Key": "x"}]', b"")],
)
def test_a_key_is_its_value(body: bytes, value: bytes | None) -> None:
    """Base64 in a list of one; null is an empty one."""
    assert decode_key(body) == value


@pytest.mark.parametrize("body", [b"", b"{}", b"nonsense", b'[{"Value": "!"}]', b'[{"Value": "YQ"}]'])
def test_what_is_no_key_is_refused(body: bytes) -> None:
    """The last good value stays."""
    with pytest.raises(MalformedAnswer):
        decode_key(body)


def test_any_list_is_a_list() -> None:
    """Nodes, of which only the number matters; anything else is malformed."""
    assert decode_list(b'[{"Node": "n1"}, null]') == [{"Node": "n1"}, None]
    for body in (b"{}", b"null", b"[", b""):
        with pytest.raises(MalformedAnswer):
            decode_list(body)
