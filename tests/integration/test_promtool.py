"""What Prometheus itself says of the metrics, the alerts and the dashboard: through its own `promtool`."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.gateway_process import ROOT, GatewayProcess
from tests.support.launch import free_ports
from tests.support.real_servers import PROMTOOL, Binary, own_server
from tests.support.upstream_server import UpstreamThread, answer, fixed

PROMETHEUS = ROOT / "deploy/prometheus"
DASHBOARD = ROOT / "deploy/grafana/dashboards/lbgateway.json"
REFERENCE = ROOT / "docs/reference/metrics.md"
VARIABLES = {"$__rate_interval_ms": "60000", "$__rate_interval": "1m", "$service": "orders"}
"""Grafana's, with what it might put into their place."""
SELECTOR = re.compile(r"\b(lbgateway_[a-z_]+)\{([^}]*)\}")
LABEL = re.compile(r"(\w+)\s*[=!]~?")
GROUPED = re.compile(r"\b(?:by|without) \(([^)]*)\)")


@pytest.fixture(scope="module")
def promtool() -> Binary:
    found = own_server(PROMTOOL)
    assert isinstance(found, Binary)
    return found


def said(promtool: Binary, *words: str, given: bytes = b"") -> tuple[int, str]:
    """Exit code, and all that it says."""
    environment = {**os.environ, **promtool.environment}
    done = subprocess.run([promtool.path, *words], input=given, env=environment, capture_output=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


def expressions() -> dict[str, str]:
    """Those of the dashboard by panel and letter, and those of the alerts by name."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = {f"{panel['title']} {target.get('refId', '')}": target["expr"] for panel in panels for target in panel["targets"]}
    rules = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    found |= {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}
    for variable, value in VARIABLES.items():
        found = {name: text.replace(variable, value) for name, text in found.items()}
    return found


def test_the_metrics_are_as_prometheus_likes_them(promtool):
    """Names, units, help texts: with series of every kind that traffic brings."""
    with UpstreamThread(fixed(answer(b"ok"))) as upstream:
        down = f"127.0.0.1:{free_ports(1)[0]}"
        config = {
            "auth": {"default": "none"},
            "discovery": {"provider": "static"},
            "services": {"orders": {"instances": [upstream.address, down]}},
            "rate_limit": {"default": {"requests": 5, "per": "1m", "key": "client"}},
        }
        with GatewayProcess(config) as gateway:
            for path in ("/api/orders/", "/api/none/", "/nowhere", "/admin/nothing"):
                for _ in range(4):
                    gateway.get(path)
            status, text = gateway.get("/metrics")
    assert status == 200
    assert b"lbgateway_rate_limited_total{" in text
    assert said(promtool, "check", "metrics", given=text) == (0, "")


def test_prometheus_takes_the_configuration(promtool):
    """And the rules that it names."""
    code, text = said(promtool, "check", "config", str(PROMETHEUS / "prometheus.yml"))
    assert code == 0, text
    assert "10 rules found" in text


def test_each_expression_is_one(promtool, tmp_path: Path):
    """As rules of their own, which is how promtool reads them; a broken one would be noticed."""

    def check(texts: list[str]) -> tuple[int, str]:
        rules = [{"record": f"checked:rule{number}", "expr": text} for number, text in enumerate(texts)]
        (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "checked", "rules": rules}]}))
        return said(promtool, "check", "rules", str(tmp_path / "rules.yml"))

    texts = list(expressions().values())
    assert len(texts) > 30
    code, text = check(texts)
    assert code == 0, text
    assert check([*texts, "sum(rate(lbgateway_requests_total)"])[0] != 0


def labels_of() -> dict[str, set[str]]:
    """Metric -> its labels, as the reference tells them; a histogram's series have one more."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in REFERENCE.read_text().splitlines() if line.startswith("| `lbg")]
    known = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2])) for row in rows}
    series = {f"{row[0].strip('`')}_{end}" for row in rows if row[1] == "histogram" for end in ("bucket", "sum", "count")}
    return known | {name: {*known[name.rpartition("_")[0]], "le"} for name in series}


def test_each_label_that_is_asked_for_exists():
    """A matcher of a label that there is not matches nothing, and an alert on it never comes."""
    known = labels_of()
    prometheus_own = {"instance", "job"}
    for name, text in expressions().items():
        for metric, matchers in SELECTOR.findall(text):
            assert set(LABEL.findall(matchers)) <= known[metric] | prometheus_own, name
        metrics = set(re.findall(r"\blbgateway_[a-z_]+", text))
        grouped = {label.strip() for labels in GROUPED.findall(text) for label in labels.split(",")}
        for metric in metrics:
            assert grouped <= known[metric] | prometheus_own, name


def series(metric: str, values: str, **labels: str) -> dict[str, str]:
    told = ",".join(f'{name}="{value}"' for name, value in {"job": "lbgateway", "instance": "gw:8080", **labels}.items())
    return {"series": f"{metric}{{{told}}}", "values": values}


FIRING: dict[str, list[dict[str, str]]] = {
    "GatewayDown": [series("up", "0x20")],
    "GatewayAnswersFail": [
        series("lbgateway_requests_total", "0+90x20", service="orders", status="200"),
        series("lbgateway_requests_total", "0+10x20", service="orders", status="502"),
    ],
    "ServiceWithoutInstances": [series("lbgateway_instances", "0x20", service="orders", state="ready")],
    "BreakerOpen": [series("lbgateway_breaker_state", "1x20", service="orders", state="open")],
    "DiscoveryBlind": [series("lbgateway_discovery_age_seconds", "400x20", service="orders")],
    "DiscoveryStale": [series("lbgateway_discovery_state", "1x20", service="orders", state="stale")],
    "InstancesEjected": [series("lbgateway_ejections_total", "0+3x20", service="orders", endpoint="o-1", reason="consecutive")],
    "InstancesStayEjected": [series("lbgateway_instances", "2x20", service="orders", state="ejected")],
    "RetriesHideFailures": [
        series("lbgateway_retries_total", "0+30x20", service="orders", reason="connect"),
        series("lbgateway_requests_total", "0+100x20", service="orders", status="200"),
    ],
    "GatewayLags": [series("lbgateway_loop_lag_seconds", "0.3x20")],
}
QUIET = [
    series("up", "1x20"),
    series("lbgateway_requests_total", "0+100x20", service="orders", status="200"),
    series("lbgateway_instances", "2x20", service="orders", state="ready"),
    series("lbgateway_instances", "0x20", service="orders", state="ejected"),
    series("lbgateway_breaker_state", "0x20", service="orders", state="open"),
    series("lbgateway_discovery_age_seconds", "5x20", service="orders"),
    series("lbgateway_discovery_state", "0x20", service="orders", state="stale"),
    series("lbgateway_ejections_total", "3x20", service="orders", endpoint="o-1", reason="consecutive"),
    series("lbgateway_ejections_total", "0+3x20", service="orders", endpoint="o-1", reason="operator"),
    series("lbgateway_retries_total", "0+1x20", service="orders", reason="connect"),
    series("lbgateway_loop_lag_seconds", "0.001x20"),
]


def test_each_alert_fires_when_it_should_and_else_is_quiet(promtool, tmp_path: Path):
    """After ten minutes of each trouble; and not a single one on a good day."""
    alerts = [rule["alert"] for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    assert sorted(alerts) == sorted(FIRING)

    def case(given: list[dict[str, str]], firing: str | None) -> dict[str, Any]:
        queries = [
            {"expr": f'count(ALERTS{{alertstate="firing",alertname="{alert}"}})', "eval_time": "10m",
             "exp_samples": [{"labels": "{}", "value": 1}] if alert == firing else []}
            for alert in alerts if firing in (None, alert)
        ]  # fmt: skip
        return {"interval": "1m", "input_series": given, "promql_expr_test": queries}

    news = [series("lbgateway_ejections_total", "_x7 1x10", service="orders", endpoint=f"o-{n}", reason="success_rate") for n in range(6)]
    several_at_once = case([series("up", "1x20"), *news], "InstancesEjected")
    begun = case([series("up", "_x7 1x10"), *news], None)  # not known before: those of a long life may be old

    tests = [case(QUIET, None), several_at_once, begun, *(case(given, alert) for alert, given in FIRING.items())]
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": [str(PROMETHEUS / "alerts.yml")], "tests": tests}))
    code, text = said(promtool, "test", "rules", str(tmp_path / "tests.yml"))
    assert code == 0, text
