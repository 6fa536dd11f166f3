"""Blocking queries, asked of the development registry and of a real Consul alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from tests.support.registry_client import RegistryClient

UNCHANGED_S = 0.5
"""Long enough for a wake-up that must not come."""


class Blocked:
    """A query that waits in a thread of its own, on a connection of its own."""

    def __init__(self, registry: RegistryClient, path: str, index: int, wait: str = "5s") -> None:
        self.started_s = time.monotonic()
        self.ended_s = 0.0
        self.answer: Future[httpx.Response] = Future()
        url = httpx.URL(f"{registry.url}/v1/{path}").copy_merge_params({"index": index, "wait": wait})
        self._thread = threading.Thread(target=self._ask, args=(url,), daemon=True)
        self._thread.start()
        time.sleep(0.1)  # it has to be blocked before something happens; nothing outside tells that it is

    def _ask(self, url: httpx.URL) -> None:
        try:
            with httpx.Client(trust_env=False, timeout=10) as http:
                answer = http.get(url)
            self.ended_s = time.monotonic()
            self.answer.set_result(answer)
        except httpx.HTTPError as error:
            self.answer.set_exception(error)

    def woken(self) -> httpx.Response:
        """The answer, which has to come at once."""
        return self.answer.result(1)

    def still_blocked(self) -> bool:
        time.sleep(UNCHANGED_S)
        return not self.answer.done()

    def duration_s(self) -> float:
        self.answer.result(10)
        return self.ended_s - self.started_s


def pass_(registry: RegistryClient, name: str) -> None:
    registry.put(f"agent/check/pass/service:{name}")


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("another instance", lambda registry, name: registry.register(Name=name, ID=f"{name}-2")),
        ("new tags", lambda registry, name: registry.register(Name=name, Tags=["new"])),
        ("a check turns", pass_),
        ("maintenance", lambda registry, name: registry.put(f"agent/service/maintenance/{name}?enable=true")),
        ("the last instance goes", lambda registry, name: registry.put(f"agent/service/deregister/{name}")),
    ],
)
def test_a_change_of_the_service_wakes_its_watchers(
    registry: RegistryClient, name: str, what: str, change: Callable[[RegistryClient, str], object]
) -> None:
    """With the new body and a higher index, within a moment."""
    registry.register(Name=name, Check={"TTL": "10s"})
    before = registry.get(f"health/service/{name}")
    blocked = Blocked(registry, f"health/service/{name}", int(before.headers["X-Consul-Index"]))
    change(registry, name)
    after = blocked.woken()

    assert after.text != before.text, what
    assert int(after.headers["X-Consul-Index"]) > int(before.headers["X-Consul-Index"])


def test_the_first_instance_of_a_missing_service_wakes_those_who_wait_for_it(registry: RegistryClient, name: str) -> None:
    """A gateway may watch a service before it exists."""
    blocked = Blocked(registry, f"health/service/{name}", registry.index(f"health/service/{name}"))
    registry.register(Name=name)
    assert len(blocked.woken().json()) == 1


def test_other_services_and_repetitions_wake_nobody(registry: RegistryClient, name: str) -> None:
    """Neither an unrelated registration, nor its check, nor the same registration or heartbeat again."""
    definition = {"Name": name, "Check": {"TTL": "10s"}}
    registry.register(**definition)
    pass_(registry, name)
    other = f"{name}-other"
    blocked = Blocked(registry, f"health/service/{name}", registry.index(f"health/service/{name}"), wait="2s")
    registry.register(Name=other, Check={"TTL": "10s"})
    pass_(registry, other)
    registry.register(**definition)
    registry.put(f"agent/check/pass/service:{name}?note=still+fine")
    registry.forget(other)

    assert blocked.still_blocked()


def test_a_query_that_nothing_happens_to_returns_the_same_after_its_wait(registry: RegistryClient, name: str) -> None:
    """Up to a sixteenth later than asked for, so that watchers spread; index and body as before."""
    registry.register(Name=name)
    before = registry.get(f"health/service/{name}")
    blocked = Blocked(registry, f"health/service/{name}", int(before.headers["X-Consul-Index"]), wait="800ms")

    assert 0.8 <= blocked.duration_s() < 0.8 * 17 / 16 + 0.25
    after = blocked.answer.result()
    assert (after.text, after.headers["X-Consul-Index"]) == (before.text, before.headers["X-Consul-Index"])


@pytest.mark.alone
def test_an_index_from_before_is_answered_at_once(registry: RegistryClient, name: str) -> None:
    """So is none, and 0."""
    registry.register(Name=name)
    index = registry.index(f"health/service/{name}")
    for query in (f"index={index - 1}&wait=5s", "index=0&wait=5s", "wait=5s"):
        begun_s = time.monotonic()
        assert registry.index(f"health/service/{name}?{query}") == index
        assert time.monotonic() - begun_s < 1


def test_an_index_that_is_too_high_blocks_and_misses_every_change(registry: RegistryClient, name: str) -> None:
    """The trap that a client has to know: after a loss of state its old index makes it blind."""
    registry.register(Name=name)
    blocked = Blocked(registry, f"health/service/{name}", 2**62, wait="1s")
    registry.register(Name=name, ID=f"{name}-2")

    assert blocked.still_blocked()
    assert blocked.duration_s() >= 1
    assert len(blocked.answer.result().json()) == 2


def test_the_list_of_services_wakes_for_services_but_not_for_checks(registry: RegistryClient, name: str) -> None:
    """New tags and a new instance do it; a check that turns does not."""
    registry.register(Name=name, Check={"TTL": "10s"})
    blocked = Blocked(registry, "catalog/services", registry.index("catalog/services"), wait="3s")
    pass_(registry, name)
    assert blocked.still_blocked()
    registry.register(Name=name, ID=f"{name}-2", Tags=["new"])
    assert blocked.woken().json()[name] == ["new"]


def test_a_check_of_the_node_wakes_the_watchers_of_its_services(registry: RegistryClient, name: str) -> None:
    """Because it decides over each of them."""
    registry.register(Name=name)
    blocked = Blocked(registry, f"health/service/{name}", registry.index(f"health/service/{name}"))
    try:
        registry.put("agent/maintenance?enable=true")
        assert blocked.woken().status_code == 200
    finally:
        registry.put("agent/maintenance?enable=false")


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("stale&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics."),
        ("index=abc", "Invalid index"),
        ("index=-1", "Invalid index"),
        ("index=18446744073709551616", "Invalid index"),
        ("index=1&wait=abc", "Invalid wait time"),
        ("index=1&wait=10", "Invalid wait time"),
    ],
)
def test_bad_parameters_of_a_query_are_refused_in_the_same_words(registry: RegistryClient, query: str, text: str) -> None:
    """All of them 400: a mistake of the client, not to be repeated."""
    answer = registry.get(f"health/service/x?{query}")
    assert (answer.status_code, answer.text) == (400, text)
    assert "X-Consul-Index" not in answer.headers


@pytest.mark.parametrize(("query", "said"), [("", "leader"), ("stale", "stale"), ("consistent", "consistent")])
def test_an_answer_tells_how_fresh_it_is(registry: RegistryClient, query: str, said: str) -> None:
    """Index, leader, age and consistency, in headers."""
    headers = registry.get(f"health/service/x?{query}").headers
    assert headers["X-Consul-Effective-Consistency"] == said
    assert (headers["X-Consul-KnownLeader"], headers["X-Consul-LastContact"]) == ("true", "0")
    assert int(headers["X-Consul-Index"]) >= 1


def test_an_answer_of_error_carries_an_index_that_means_nothing(registry: RegistryClient) -> None:
    """It is 1, and no leader is known: another trap for clients."""
    answer = registry.get("health/service/x?dc=nowhere")
    assert (answer.status_code, answer.text) == (500, "No path to datacenter")
    assert (answer.headers["X-Consul-Index"], answer.headers["X-Consul-KnownLeader"]) == ("1", "false")


@pytest.mark.alone
def test_a_hundred_watchers_are_woken_together(registry: RegistryClient, name: str) -> None:
    """None is missed, and none waits for another."""
    registry.register(Name=name)
    index = registry.index(f"health/service/{name}")
    url = f"{registry.url}/v1/health/service/{name}"
    with httpx.Client(trust_env=False, timeout=15, limits=httpx.Limits(max_connections=100)) as http, ThreadPoolExecutor(100) as pool:
        answers = [pool.submit(http.get, url, params={"index": index, "wait": "10s"}) for _ in range(100)]
        time.sleep(1)
        assert not any(answer.done() for answer in answers)
        registry.register(Name=name, ID=f"{name}-2")
        changed_s = time.monotonic()
        assert {len(answer.result(10).json()) for answer in answers} == {2}
    assert time.monotonic() - changed_s < 2
