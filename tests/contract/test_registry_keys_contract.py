"""The key-value store, asked of the development registry and of a real Consul alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.test_registry_blocking_contract import Blocked
from tests.support.registry_client import RegistryClient, normal


@pytest.fixture
def folder(registry: RegistryClient, name: str) -> Iterator[str]:
    """A prefix of this test's own."""
    yield f"{name}/"
    registry.http.delete(f"/v1/kv/{name}/", params={"recurse": ""})


def put(registry: RegistryClient, key: str, value: bytes = b"hello", **condition: object) -> bool:
    answer = registry.put(f"kv/{key}", value, params=condition)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json"), answer.text
    return bool(answer.json())


def delete(registry: RegistryClient, key: str, **condition: object) -> bool:
    answer = registry.http.delete(f"/v1/kv/{key}", params=condition)
    assert answer.status_code == 200, answer.text
    return bool(answer.json())


def test_a_key_keeps_bytes_and_flags(registry: RegistryClient, folder: str) -> None:
    """Values are base64, null where they are empty; created and modified are told apart."""
    assert put(registry, f"{folder}a", b"hello", flags=7)
    [made] = registry.get(f"kv/{folder}a").json()
    assert normal(made) == {"LockIndex": 0, "Key": f"{folder}a", "Flags": 7, "Value": "aGVsbG8="}
    assert put(registry, f"{folder}a", b"")
    [changed] = registry.get(f"kv/{folder}a").json()
    assert (changed["Value"], changed["Flags"], changed["CreateIndex"]) == (None, 0, made["CreateIndex"])
    assert changed["ModifyIndex"] > made["ModifyIndex"]


def test_a_raw_value_comes_as_it_was_stored(registry: RegistryClient, folder: str) -> None:
    """Without anything around it, and such that no browser takes it for a page."""
    put(registry, f"{folder}a", b"\x00<b>\xff")
    answer = registry.get(f"kv/{folder}a?raw")
    assert answer.content == b"\x00<b>\xff"
    assert (answer.headers["Content-Type"], answer.headers["X-Content-Type-Options"]) == ("text/plain", "nosniff")
    assert int(answer.headers["X-Consul-Index"]) > 1


@pytest.mark.parametrize("query", ["", "raw", "recurse", "keys"])
def test_what_is_missing_is_404_with_an_index_to_wait_for(registry: RegistryClient, folder: str, query: str) -> None:
    """At least 1, and without a body."""
    answer = registry.get(f"kv/{folder}a?{query}")
    assert (answer.status_code, answer.content) == (404, b"")
    assert int(answer.headers["X-Consul-Index"]) >= 1


def test_prefixes_list_what_is_below_them(registry: RegistryClient, folder: str) -> None:
    """Entries or names alone, by name; a separator makes folders."""
    for key in ("b", "a/2", "a/1", "a with space"):
        put(registry, folder + key)
    assert [entry["Key"] for entry in registry.get(f"kv/{folder}?recurse").json()] == [
        f"{folder}{key}" for key in ("a with space", "a/1", "a/2", "b")
    ]
    assert registry.get(f"kv/{folder}a/?keys").json() == [f"{folder}a/1", f"{folder}a/2"]
    assert registry.get(f"kv/{folder}?keys&separator=/").json() == [f"{folder}{key}" for key in ("a with space", "a/", "b")]


def test_conditions_are_kept(registry: RegistryClient, folder: str) -> None:
    """``cas=0`` creates only, any other number is that of the last change."""
    key = f"{folder}a"
    assert put(registry, key, b"1", cas=0)
    assert not put(registry, key, b"2", cas=0)
    index = registry.get(f"kv/{key}").json()[0]["ModifyIndex"]
    assert not put(registry, key, b"2", cas=index - 1)
    assert not delete(registry, key, cas=index - 1)
    assert put(registry, key, b"2", cas=index)
    assert registry.get(f"kv/{key}?raw").text == "2"
    assert not delete(registry, key, cas=index)
    assert delete(registry, key, cas=registry.get(f"kv/{key}").json()[0]["ModifyIndex"])
    assert registry.get(f"kv/{key}").status_code == 404
    assert delete(registry, key)


def test_a_folder_is_deleted_as_a_whole(registry: RegistryClient, folder: str) -> None:
    """And nothing beside it; the index of the prefix goes on."""
    for key in ("a/1", "a/2", "b"):
        put(registry, folder + key)
    before = registry.index(f"kv/{folder}?keys")
    assert delete(registry, f"{folder}a/", recurse="")
    assert registry.get(f"kv/{folder}?keys").json() == [f"{folder}b"]
    assert registry.index(f"kv/{folder}?keys") > before


def test_a_watched_key_wakes_for_itself_alone(registry: RegistryClient, folder: str) -> None:
    """Not for its neighbour, nor for the same value again; for its end, too."""
    key = f"{folder}a"
    put(registry, key, b"1")
    blocked = Blocked(registry, f"kv/{key}", registry.index(f"kv/{key}"))
    put(registry, f"{folder}b", b"1")
    put(registry, key, b"1")
    assert blocked.still_blocked()
    put(registry, key, b"2")
    answer = blocked.woken()
    assert answer.json()[0]["Value"] == "Mg=="
    blocked = Blocked(registry, f"kv/{key}", int(answer.headers["X-Consul-Index"]))
    delete(registry, key)
    gone = blocked.woken()
    assert gone.status_code == 404
    assert int(gone.headers["X-Consul-Index"]) > int(answer.headers["X-Consul-Index"])


def test_a_watched_prefix_wakes_for_what_is_below_it(registry: RegistryClient, folder: str) -> None:
    """Also when a key goes, and not for another folder."""
    put(registry, f"{folder}a/1")
    put(registry, f"{folder}a/2")
    blocked = Blocked(registry, f"kv/{folder}a/?recurse", registry.index(f"kv/{folder}a/?recurse"))
    put(registry, f"{folder}b/1")
    assert blocked.still_blocked()
    delete(registry, f"{folder}a/2")
    assert len(blocked.woken().json()) == 1


def test_a_missing_key_is_waited_for(registry: RegistryClient, folder: str) -> None:
    """It wakes when it appears."""
    blocked = Blocked(registry, f"kv/{folder}a", registry.index(f"kv/{folder}a"))
    put(registry, f"{folder}a", b"1")
    assert blocked.woken().json()[0]["Value"] == "MQ=="


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "", 400, "Missing key name"),
        ("PUT", "", 400, "Missing key name"),
        ("DELETE", "", 400, "Missing key name"),
        ("PUT", "x?cas=x", 500, 'strconv.ParseUint: parsing "x": invalid syntax'),
        ("PUT", "x?cas=", 500, 'strconv.ParseUint: parsing "": invalid syntax'),
        ("PUT", "x?flags=x", 500, 'strconv.ParseUint: parsing "x": invalid syntax'),
        ("DELETE", "x?cas=x", 500, 'strconv.ParseUint: parsing "x": invalid syntax'),
        ("DELETE", "x?recurse&cas=1", 400, "Conflicting flags: cas=1&recurse="),
        ("PUT", "x?release=foo&cas=0", 400, "Conflicting flags: cas=0&release=foo"),
        ("PUT", "x?dc=nowhere", 500, "No path to datacenter"),
        ("GET", "x?dc=nowhere", 500, "No path to datacenter"),
        ("POST", "x", 405, "method POST not allowed"),
    ],
)
def test_bad_calls_are_refused_in_the_same_words(registry: RegistryClient, method: str, path: str, status: int, text: str) -> None:
    """Status and text."""
    answer = registry.http.request(method, f"/v1/kv/{path}")
    assert (answer.status_code, answer.text) == (status, text)
    if status == 405:
        assert answer.headers["Allow"] == "OPTIONS,GET,PUT,DELETE"


def test_a_value_of_512_kib_is_the_largest(registry: RegistryClient, folder: str) -> None:
    """One byte more is 413."""
    assert put(registry, f"{folder}a", b"x" * 512 * 1024)
    answer = registry.put(f"kv/{folder}a", b"x" * (512 * 1024 + 1))
    assert answer.status_code == 413
    assert answer.text.startswith("Request body")
