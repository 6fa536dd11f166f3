"""The dashboard and the alerts in a real Prometheus: it scrapes gateways on a good day, and then in trouble."""

from __future__ import annotations

import contextlib
import json
import math
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import yaml

from tests.support.consul_server import ConsulServer
from tests.support.gateway_process import ROOT, GatewayProcess
from tests.support.launch import RunningProcess, free_ports, wait_until
from tests.support.real_servers import PROMETHEUS, Binary, own_server
from tests.support.tokens import SECRET
from tests.support.upstream_server import Connection, Received, UpstreamThread, answer

DEPLOYED = ROOT / "deploy/prometheus"
PANELS = json.loads((ROOT / "deploy/grafana/dashboards/lbgateway.json").read_text())["panels"]
DATA_SOURCE = ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml"
TARGETS = {f"{panel['title']} {target['refId']}": (panel, target) for panel in PANELS for target in panel["targets"]}
ON_TOP = [name for name, (panel, _) in TARGETS.items() if panel["type"] == "stat"]

EVERY_MS, WINDOW_MS = 250, 2000
"""A scrape, and what rates are of: Grafana takes four scrapes and more."""
ALL = ".*"
"""What Grafana puts for "All", by the dashboard's own `allValue`."""


# -- what is scraped -------------------------------------------------------------------------------


@dataclass
class Fault:
    """Whether the instances behind it fail."""

    there: threading.Event = field(default_factory=threading.Event)

    async def answer(self, request: Received, connection: Connection) -> bool:
        failing = self.there.is_set()
        await connection.send(answer(b"", status="500 Internal Server Error") if failing else answer(b"ok"))
        return True


async def hang(_: Received, connection: Connection) -> bool:
    """Never answers, and goes when its client has gone."""
    await connection.reader.read()
    return False


CONFIG: dict[str, Any] = {
    "auth": {"default": "none", "jwt": {"algorithms": ["HS256"], "secret": SECRET}},
    "logging": {"access_log": False},
    "services": {
        "empty": {},
        "orders": {"balancer": "round_robin"},
        "broken": {"breaker": {"min_requests": 10, "open_for": "1m"}, "outlier": {"max_ejected": 0}},
    },
    "routes": [
        {"prefix": "/api/{service}", "strip_prefix": True},
        {"prefix": "/private", "service": "orders", "auth": "required"},
        {"prefix": "/limited", "service": "orders", "rate_limit": {"requests": 1, "per": "1m", "key": "client"}},
    ],
}
GOOD, TROUBLED = ["/api/orders/"], ["/api/broken/", "/api/none/", "/private/", "/limited/"]


class Clients:
    """Ask every gateway for all `paths`, again and again; one request hangs in each of them."""

    def __init__(self, gateways: list[GatewayProcess]) -> None:
        self.paths = GOOD
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, args=(each,)) for each in gateways for work in (self._ask, self._wait)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, gateway: GatewayProcess) -> None:
        with httpx.Client(base_url=gateway.url, timeout=5) as client:
            while not self._over.wait(0.03):
                for path in self.paths:
                    with contextlib.suppress(httpx.TransportError):
                        client.get(path)

    def _wait(self, gateway: GatewayProcess) -> None:
        while not self._over.is_set():
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{gateway.url}/api/hanging/", timeout=0.5)


# -- who scrapes it --------------------------------------------------------------------------------


class Prometheus:
    """A real one with the deployed configuration and rules, in front of this machine's gateways, and in more of a hurry."""

    def __init__(self, folder: Path, targets: list[str]) -> None:
        config = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": f"{EVERY_MS}ms", "evaluation_interval": f"{EVERY_MS}ms"}
        config["rule_files"] = [str(DEPLOYED / name) for name in config["rule_files"]]
        [job] = config["scrape_configs"]
        assert len(job["static_configs"][0]["targets"]) == len(targets)
        job["static_configs"][0]["targets"] = targets
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        found, (port,) = own_server(PROMETHEUS), free_ports(1)
        assert isinstance(found, Binary)
        self.url = f"http://127.0.0.1:{port}"
        options = {
            "config.file": folder / "prometheus.yml",
            "storage.tsdb.path": folder / "data",
            "web.listen-address": f"127.0.0.1:{port}",
        }
        command = [found.path, *(f"--{name}={value}" for name, value in options.items())]
        self._process = RunningProcess(command, found.environment, folder / "log")

    def __enter__(self) -> Self:
        wait_until(self._ready, 20, self._process.log)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def scrapes(self, gateways: int) -> bool:
        """It begins some seconds after it is ready."""
        return bool(self.ask("query", query=f"count(up == 1) == {gateways}")["result"])

    def ask(self, path: str, **parameters: str) -> Any:
        told = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10).json()
        assert told["status"] == "success", told
        return told["data"]

    def series_of(self, target: dict[str, Any], at_s: float, service: str = ALL) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series that a panel's target shows at that moment."""
        text = target["expr"].replace("$__rate_interval_ms", str(WINDOW_MS)).replace("$__rate_interval", f"{WINDOW_MS}ms")
        text = text.replace("$service", service)
        assert "$" not in text
        return [(each["metric"], float(each["value"][1])) for each in self.ask("query", query=text, time=f"{at_s:.3f}")["result"]]


@dataclass(frozen=True)
class Scene:
    """Two moments, in Unix seconds; what is asked about them is answered from what was scraped."""

    prometheus: Prometheus
    good_s: float
    trouble_s: float


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A good day with two gateways; then an instance fails, a service fails, clients are refused, Consul is gone."""
    folder, sick, broken = tmp_path_factory.mktemp("prometheus"), Fault(), Fault()
    with contextlib.ExitStack() as stack:
        consul = stack.enter_context(ConsulServer())
        handlers = {"orders": (Fault().answer, sick.answer), "broken": (broken.answer,), "hanging": (hang,)}
        for name, each in ((name, handler) for name, several in handlers.items() for handler in several):
            consul.register(name, int(stack.enter_context(UpstreamThread(each)).address.rpartition(":")[2]))
        config = {**CONFIG, "discovery": {"consul": {"url": consul.url}}}
        gateways = [stack.enter_context(GatewayProcess(config)) for _ in range(2)]
        prometheus = stack.enter_context(Prometheus(folder, [gateway.url.removeprefix("http://") for gateway in gateways]))
        clients = stack.enter_context(Clients(gateways))
        wait_until(lambda: prometheus.scrapes(2), 20, lambda: str(prometheus.ask("targets")))
        time.sleep(WINDOW_MS / 1000 + 1)  # what is looked at is what time has passed over
        good_s = time.time()
        sick.there.set()
        broken.there.set()
        clients.paths = GOOD + TROUBLED
        consul.kill()
        time.sleep(WINDOW_MS / 1000)
        trouble_s = time.time()
        yield Scene(prometheus, good_s, trouble_s)


# -- what is to be seen ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ON_TOP)
def test_the_numbers_on_top_are_there_on_a_good_day(scene: Scene, name: str) -> None:
    """One each: nothing has failed yet is 0, and not "No data"."""
    _, target = TARGETS[name]
    [(_, value)] = scene.prometheus.series_of(target, scene.good_s)
    expected = {"Failing A": 0, "Open breakers A": 0, "Usable instances A": 4}
    assert value == expected[name] if name in expected else 0 < value < math.inf


@pytest.mark.parametrize("name", TARGETS)
def test_each_panel_shows_what_is_going_on(scene: Scene, name: str) -> None:
    """In trouble all of them have something to show, also the first time that it happens; and what the legend names is there."""
    panel, target = TARGETS[name]
    series = scene.prometheus.series_of(target, scene.trouble_s)
    assert any(value > 0 for _, value in series), series
    assert all(math.isnan(value) or 0 <= value < math.inf for _, value in series), series
    if panel["type"] == "stat":
        assert len(series) == 1
    for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
        assert all(labels.get(label) for labels, _ in series), series


def test_the_services_to_choose_from_are_those_with_requests(scene: Scene) -> None:
    """One of them, or several as Grafana joins them, leave the others out."""
    offered = scene.prometheus.ask("label/service/values", **{"match[]": "lbgateway_requests_total"})
    assert {"orders", "broken"} <= set(offered)
    _, target = TARGETS["Requests by service A"]
    for chosen, shown in (
        ("orders", {"orders"}),
        ("(broken|orders)", {"broken", "orders"}),
        (ALL, {"broken", "hanging", "orders", "no route"}),
    ):
        series = scene.prometheus.series_of(target, scene.trouble_s, chosen)
        assert {labels["service"] for labels, value in series if value > 0} == shown


def test_windows_are_as_long_as_four_scrapes() -> None:
    """Grafana has to be told how often Prometheus looks."""
    [source] = yaml.safe_load(DATA_SOURCE.read_text())["datasources"]
    deployed = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == deployed["scrape_interval"]


def test_what_goes_wrong_is_an_alert(scene: Scene) -> None:
    """Each rule is evaluated without an error, and those of this trouble wait for their time to come, for the services that have it."""
    rules = [rule for group in scene.prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}, rules
    active = {rule["name"]: {alert["labels"].get("service") for alert in rule["alerts"]} for rule in rules if rule["alerts"]}
    expected = {
        "GatewayAnswersFail": {"broken"},
        "ServiceWithoutInstances": {"empty"},
        "BreakerOpen": {"broken"},
        "DiscoveryStale": {"orders", "broken", "empty"},
        "InstancesStayEjected": {"orders"},
    }
    assert expected.keys() <= active.keys()
    assert all(services <= active[name] for name, services in expected.items()), active
    assert not active.keys() & {"GatewayDown", "DiscoveryBlind"}
