"""What lies in `deploy/` fits the code: metrics that exist, configurations that are taken, files that are there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from lbgateway.config import load_text
from lbgateway.telemetry import exposition

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"\blbgateway_[a-z_]+")
SUFFIXES = ("_total", "_bucket", "_count", "_sum")


def known_metrics() -> set[str]:
    """As the exposition names them, without the endings that a kind of metric brings along."""
    sources = [Path(exposition.__file__), *(ROOT / "lbgateway").rglob("*.py")]
    return {name for source in sources for name in METRIC.findall(source.read_text())}


def asked_metrics() -> dict[str, set[str]]:
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    asked = {rule["alert"]: set(METRIC.findall(rule["expr"])) for group in rules["groups"] for rule in group["rules"]}
    dashboard = json.loads((DEPLOY / "grafana/dashboards/lbgateway.json").read_text())
    for panel in dashboard["panels"]:
        asked[panel["title"]] = {name for target in panel["targets"] for name in METRIC.findall(target["expr"])}
    return asked


def test_alerts_and_dashboards_ask_for_metrics_that_exist() -> None:
    """A misspelt one is not an error anywhere else: it is silence."""
    known = known_metrics()
    bare = {where: {name if name in known else _bare(name) for name in names} for where, names in asked_metrics().items()}

    assert {where: names - known for where, names in bare.items() if names - known} == {}
    assert len(bare) > 20


def test_each_alert_is_in_the_runbook() -> None:
    """Whoever is woken by its name finds what to do."""
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    rows = [line.split("|")[1] for line in (ROOT / "docs/runbook.md").read_text().splitlines() if line.startswith("| `")]
    assert alerts <= {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}


def _bare(name: str) -> str:
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)


def configurations() -> dict[str, str]:
    kubernetes: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kubernetes/lbgateway.yaml").read_text()))
    return {
        "deploy/docker/gateway.yaml": (DEPLOY / "docker/gateway.yaml").read_text(),
        "deploy/kubernetes/lbgateway.yaml": kubernetes[0]["data"]["gateway.yaml"],
    }


@pytest.mark.parametrize("name", configurations())
def test_the_gateway_takes_the_configurations(name: str, tmp_path: Path) -> None:
    """With the secrets where they will be."""
    text = configurations()[name]
    for file in set(re.findall(r"file: (/run/[\w/.-]+)", text)):
        (tmp_path / Path(file).name).write_text("0123456789abcdef0123456789abcdef")
        text = text.replace(file, str(tmp_path / Path(file).name))

    assert load_text(text, name, {"HOST_IP": "10.0.0.1"}).warnings == ()


def test_compose_mounts_what_is_there() -> None:
    """Files that Docker would otherwise make as empty folders."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounts = {volume.partition(":")[0] for each in services.values() for volume in each.get("volumes", ()) if volume.startswith("./")}

    assert [mount for mount in sorted(mounts) if not (ROOT / mount).exists()] == []
    assert len(mounts) >= 6


def test_kubernetes_knows_every_field_of_the_manifest() -> None:
    """By the schemas of its own API, strictly: what it does not know it would drop without a word."""
    for each in yaml.safe_load_all((DEPLOY / "kubernetes/lbgateway.yaml").read_text()):
        kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate({**each, "spce": {}}, kubernetes_validate.latest_version(), strict=True)


def test_the_ports_of_the_manifest_fit_together() -> None:
    """Probes, scraping and the command line go to `admin.listen`; what is outside reaches the public port only."""
    config, deployment, service, _ = yaml.safe_load_all((DEPLOY / "kubernetes/lbgateway.yaml").read_text())
    template = deployment["spec"]["template"]
    [container] = template["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    listen = yaml.safe_load(config["data"]["gateway.yaml"])["admin"]["listen"]

    assert listen == f"0.0.0.0:{ports['admin']}"
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(ports["admin"])
    assert {container[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe")} == {"admin"}
    assert {each["name"]: each.get("value") for each in container["env"]}["LBGATEWAY_ADMIN_URL"].endswith(f":{ports['admin']}")
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
