"""A registry that is saved and restored answers as before."""

from __future__ import annotations

import json

import pytest

from discovery.embedded.agent import LocalAgent
from discovery.embedded.catalog import Catalog
from discovery.embedded.changes import Changes
from discovery.embedded.definitions import parse_service
from discovery.embedded.entering import enter
from discovery.embedded.key_values import KeyValues
from discovery.embedded.records import CatalogEntry, Check, Node, Service
from discovery.embedded.saved_state import FORMAT, Unusable, last_index, restore, save

WEB = {
    "Name": "web",
    "ID": "web-1",
    "Tags": ["t"],
    "Address": "10.0.0.7",
    "Port": 80,
    "TaggedAddresses": {"wan": {"Address": "192.0.2.1", "Port": 81}},
    "Meta": {"k": "v"},
    "Weights": {"Passing": 3, "Warning": 2},
    "Checks": [
        {"TTL": "15s", "Status": "passing", "DeregisterCriticalServiceAfter": "5m"},
        {"TTL": "15s", "Status": "passing", "CheckID": "silent"},
        {"HTTP": "http://x/", "Method": "HEAD", "Header": {"a": ["b"]}, "Interval": "1500ms", "Timeout": "3s", "Status": "passing"},
        {"TCP": "x:1", "Interval": "2s", "FailuresBeforeCritical": 2, "SuccessBeforePassing": 1, "TLSSkipVerify": True},
    ],
}


def registry(first_index: int = 1) -> tuple[LocalAgent, KeyValues]:
    changes = Changes(first_index)
    return LocalAgent(Catalog(Node("0", "n"), changes)), KeyValues(changes)


@pytest.fixture
def full() -> tuple[LocalAgent, KeyValues]:
    """Something of everything."""
    agent, keys = registry()
    agent.register(parse_service(b'{"Name": "api"}'), 0)
    agent.register(parse_service(json.dumps(WEB).encode()), 0)
    agent.heartbeat("service:web-1:1", "warning", "slow", 0)
    agent.set_maintenance("api", "moving", 0, enable=True)
    checks = (Check("c", "check", "passing", "note", "said", service_id="w", type="http"), Check("serfHealth", "Serf", "critical"))
    enter(
        agent.catalog, CatalogEntry(Node("id", "other", "10.0.0.9", "dc1", {"lan": "10.0.0.9"}, {"zone": "a"}), Service("w", "web"), checks)
    )
    keys.put("b", b"\x00\xff", 7)
    keys.put("a", b"")
    return agent, keys


def again(agent: LocalAgent, keys: KeyValues, now_s: float = 100) -> tuple[LocalAgent, KeyValues]:
    content = save(agent, keys)
    restored = registry(last_index(content))
    restore(content, *restored, now_s)
    return restored


def test_everything_is_there_again(full: tuple[LocalAgent, KeyValues]) -> None:
    """Services, definitions of checks, nodes, keys; saved once more it is the same, but for the higher index."""
    (agent, keys), (restored, restored_keys) = full, again(*full)
    assert restored.services == agent.services
    assert {key: row.record for key, row in restored.catalog.nodes.items()} == {key: row.record for key, row in agent.catalog.nodes.items()}
    assert {key: (one.value, one.flags) for key, one in restored_keys.entries.items()} == {"a": (b"", 0), "b": (b"\x00\xff", 7)}
    assert restored_keys.entries["b"].create_index < restored_keys.entries["a"].create_index
    assert restored.catalog.changes.index > agent.catalog.changes.index
    first, second = json.loads(save(agent, keys)), json.loads(save(restored, restored_keys))
    assert first | {"Index": 0} == second | {"Index": 0}
    foreign = {key: row.record for key, row in agent.catalog.checks.items() if key[0] == "other"}
    assert {key: row.record for key, row in restored.catalog.checks.items() if key[0] == "other"} == foreign


def test_checks_begin_anew_unless_they_were_heard_of(full: tuple[LocalAgent, KeyValues]) -> None:
    """As with Consul: what was only claimed at the registration is critical until there is a result."""
    restored, _ = again(*full, now_s=100)
    assert {key: (one.check.status, one.check.output) for key, one in restored.checks.items()} == {
        "service:web-1:1": ("warning", "slow"),
        "silent": ("critical", ""),
        "service:web-1:3": ("critical", ""),
        "service:web-1:4": ("critical", ""),
        "_service_maintenance:api": ("critical", ""),
    }
    assert restored.checks["_service_maintenance:api"].check.notes == "moving"
    restored.expire_ttls(115)
    assert restored.checks["service:web-1:1"].check.status == "critical"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "no file of the format"),
        (b'{"Format": "other", "Index": 1}', "no file of the format"),
        (json.dumps({"Format": FORMAT, "Index": "1"}).encode(), "no file of the format"),
        (json.dumps({"Format": FORMAT, "Index": 1}).encode(), "makes no sense: 'Services'"),
        (json.dumps({"Format": FORMAT, "Index": 1, "Services": [{}]}).encode(), "Missing service name"),
        (json.dumps({"Format": FORMAT, "Index": 1, "Services": 1}).encode(), "makes no sense"),
    ],
)
def test_a_file_that_is_not_ours_is_refused(content: bytes, why: str) -> None:
    """It may be something precious, and must not be written over."""
    with pytest.raises(Unusable, match=why):
        restore(content, *registry(), now_s=0)
