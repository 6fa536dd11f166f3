"""The pages of docs/reference/, written from what the program itself goes by.

``python -m tests.support.reference_pages`` (or ``make docs``) writes them; a test keeps the pages equal to the code.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from prometheus_client import Metric
from starlette.routing import Route

from lbgateway import errors
from lbgateway.cli import parser
from lbgateway.controlplane.app import ControlPlaneSettings, build_app
from lbgateway.controlplane.port import GatewayPort
from lbgateway.telemetry.exposition import EndpointNumbers, ServiceNumbers, families
from lbgateway.telemetry.metrics import EndpointSeries, Histogram, Metrics
from tests.support.reference_of_keys import configuration

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
COMMAND = "make docs"

MADE = f"*Written by `{COMMAND}` from the program; do not edit.*"

ENDPOINTS = {
    "/health": "Whether the gateway can work: `ok`, `degraded` (200), `failing` (503), and each check.",
    "/health/live": "200 while the process answers at all.",
    "/health/ready": "200 while new requests are welcome; 503 before the registry's first answer, and while draining.",
    "/metrics": "Prometheus text ([metrics.md](metrics.md)); its place is `metrics.path`.",
    "/admin": "The operators' page. It holds no data; it asks for the token and fetches with it.",
    "/admin/": "The same.",
    "/admin/assets/{name}": "The page's scripts and styles.",
    "/admin/upstreams": "Every service with its instances; `?service=`, `state=`, `limit=`, `cursor=`. A browser gets the page.",
    "/admin/upstreams/{service}": "One service.",
    "/admin/upstreams/{service}/explain": "Why each instance may or may not be picked, the last picks and changes of state.",
    "/admin/routes": "The routes in force, disabled ones with their reason, and services that are registered but not exposed.",
    "/admin/config": "The configuration in force, secrets masked.",
    "/admin/events": "Server-sent events: changes of the registry, ejections, breakers, operators' actions.",
    "/admin/upstreams/{service}/{instance}/drain": "No new requests for the instance; what runs is finished.",
    "/admin/upstreams/{service}/{instance}/undrain": "Takes the drain back.",
    "/admin/upstreams/{service}/{instance}/eject": "No new requests for a time, or until `uneject`.",
    "/admin/upstreams/{service}/{instance}/uneject": "Brings the instance back, whoever has ejected it.",
    "/admin/upstreams/{service}/{instance}/weight": "Another weight than the registry's.",
}


def pages() -> dict[str, str]:
    """File name -> text."""
    made: dict[str, Callable[[], Iterable[str]]] = {
        "configuration.md": configuration,
        "cli.md": commands,
        "metrics.md": metrics,
        "errors.md": refusals,
        "endpoints.md": endpoints,
    }
    return {name: "\n".join(_headed(write())) + "\n" for name, write in made.items()}


def _headed(lines: Iterable[str]) -> Iterator[str]:
    heading, *rest = lines
    yield from (heading, "", MADE, "", *rest)


def commands() -> Iterator[str]:
    """Each command, from the parser."""
    yield "# The command line"
    yield "Exit codes: 0 fine, 1 it ran and the answer is no, 2 wrong usage."
    yield "How to use them: [operations](../operations.md), [runbook](../runbook.md)."
    (subparsers,) = (each for each in parser()._actions if isinstance(each, argparse._SubParsersAction))
    told = {each.dest: each.help for each in subparsers._get_subactions()}
    for name, command in subparsers.choices.items():
        yield from ("", f"## {name}", "")
        yield from _command(f"lbgateway {name}", told.get(name) or "", command)


def _command(path: str, told: str, command: argparse.ArgumentParser) -> Iterator[str]:
    nested = [each for each in command._actions if isinstance(each, argparse._SubParsersAction)]
    yield f"{told[:1].upper()}{told[1:]}." if told else ""
    rows = [_argument(each) for each in command._actions if each.dest != "help" and each not in nested]
    if rows:
        yield ""
        yield from table(("argument", "what it is"), rows)
    for each in nested:
        choices = {action.dest: action.help or "" for action in each._get_subactions()}
        yield from ("", *table(("then", "what it does"), [(f"`{path} {name}`", text) for name, text in choices.items()]))


def _argument(action: argparse.Action) -> tuple[str, str]:
    name = action.option_strings[-1] if action.option_strings else ""
    value = "" if action.nargs == 0 else str(action.metavar or "|".join(action.choices or ()) or action.dest)
    written = " ".join(part for part in (name, value) if part)
    must = " (required)" if action.required and name else ""
    return f"`{written}`{must}", action.help or ""


class _Seen:
    """A gateway that has everything once, so that no family is missing."""

    version = "0"

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.metrics.discovery_slots = 1
        self.metrics.config_key_state = "applied"

    def services(self) -> list[ServiceNumbers]:
        numbers = EndpointNumbers("orders-1", "n1:orders-1", 0, 0, 0, EndpointSeries())
        return [ServiceNumbers("orders", [numbers], {}, Histogram(), "closed", "fresh", 0.0)]


def metrics() -> Iterator[str]:
    """Each family, from the exposition."""
    yield "# Metrics"
    yield "At `metrics.path` (`/metrics`). Labels never hold what a client can make up; the series of an instance disappear with it."
    yield "`endpoint` is an instance's id. Rules to alert by: [the alerts](../../deploy/prometheus/alerts.yml)."
    yield ""
    seen: dict[str, Metric] = {family.name: family for family in families(_Seen())}
    rows = [(f"`{_full(each)}`", each.type, _labels(each), each.documentation) for each in sorted(seen.values(), key=lambda one: one.name)]
    yield from table(("name", "type", "labels", "meaning"), rows)


def _full(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _labels(family: Metric) -> str:
    return ", ".join(f"`{name}`" for name in getattr(family, "_labelnames", ()))


def refusals() -> Iterator[str]:
    """Each error of the gateway's own, from the tree in lbgateway/errors.py."""
    yield "# Answers of the gateway's own"
    yield "Each is `application/problem+json` whose `type` is `urn:lbgateway:problem:` and the slug, with"
    yield "`Proxy-Status: lbgateway; error=…` (RFC 9209), so a service's 503 and the gateway's are never confused."
    yield "The slug is also the label of `lbgateway_errors_total`, and in the log."
    yield "What to do about them: [runbook](../runbook.md). 499 is in log and metrics only."
    yield ""
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.GatewayError)]
    kinds = [each for each in classes if "slug" in vars(each)]
    kinds.sort(key=lambda each: (each.status, each.slug))
    rows = [(str(each.status), f"`{each.slug}`", each.title, each.origin.value, f"`{each.proxy_status}`") for each in kinds]
    yield from table(("status", "slug", "title", "on whose side", "`Proxy-Status` error"), rows)


def endpoints() -> Iterator[str]:
    """Each path of the gateway's own, from the application."""
    yield "# Paths of the gateway's own"
    yield "They win over routes. `admin` means: `admin.token`, or a JWT with the scope `admin.scope`; without either they are closed"
    yield "(403), except to a loopback peer with `admin.allow_loopback`. Their answers: [the admin API](../admin-api.md)."
    yield ""
    app = build_app(cast("GatewayPort", SimpleNamespace(version="0")), ControlPlaneSettings())
    pages_of = {route.path: "GET, HEAD" for route in app.routes if isinstance(route, Route)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one function answers GET and HEAD, which OpenAPI has no word for
        paths = app.openapi()["paths"]
    answers = {path: ", ".join(sorted(verb.upper() for verb in verbs)) for path, verbs in paths.items()}
    rows = [_endpoint(path, methods, answers) for path, methods in {**pages_of, **answers}.items()]
    yield from table(("path", "methods", "open to", "what it is"), sorted(rows))


def _endpoint(path: str, methods: str, answers: dict[str, str]) -> tuple[str, str, str, str]:
    guarded = path in answers and path.startswith("/admin/")
    return f"`{path}`", methods, "admin" if guarded else "all", ENDPOINTS[path]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Markdown."""
    for row in (head, ("---",) * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
