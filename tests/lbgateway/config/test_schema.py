"""The schema that editors are given: it lets every good file pass, and marks what is wrong at a glance."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from lbgateway.config.document import parse
from lbgateway.config.schema import DIALECT, descriptions, schema
from lbgateway.config.settings import Settings

ROOT = Path(__file__).parents[3]
FILES = Path(__file__).parent / "files"
BLOCK = re.compile(r"^```ya?ml\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(json.dumps(schema())))


def content_of(text: str) -> Any:
    """As an editor reads it: variables stay as they are written."""
    document = parse(re.sub(r"\$\{", "$${", text), "file", {})
    assert not document.findings, [str(finding) for finding in document.findings]
    return document.root


def wrong(validator: Draft202012Validator, text: str) -> list[str]:
    """``path: message`` of each error."""
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(content_of(text))]


def documented() -> Iterator[Any]:
    """Every configuration in the texts of the repository; fragments of other files are left out by their keys."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for number, block in enumerate(BLOCK.findall(path.read_text())):
            document = parse(block, "block", {})
            if document.root and set(document.root) <= set(Settings.model_fields):
                yield pytest.param(block, id=f"{path.name}-{number}")


def test_it_is_a_schema_of_the_dialect_it_names(validator):
    """2020-12, and well-formed."""
    Draft202012Validator.check_schema(validator.schema)
    assert validator.schema["$schema"] == DIALECT


@pytest.mark.parametrize("name", ["defaults.yaml", "examples.yaml"])
def test_the_whole_configuration_is_right(validator, name):
    """Every key of the product, those of later versions too: an editor knows them before the gateway does."""
    assert wrong(validator, (FILES / name).read_text()) == []


def test_the_files_name_every_key(validator):
    """Or the test above would prove nothing about those it leaves out."""
    text = "".join((FILES / name).read_text() for name in ("defaults.yaml", "examples.yaml"))
    sections = [part for section in validator.schema["$defs"].values() for part in (section, *section.get("anyOf", ()))]
    keys = {key for section in sections for key in section.get("properties", ())}
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", text)] == []


@pytest.mark.parametrize("block", list(documented()))
def test_what_the_documentation_shows_is_right(validator, block):
    """Every configuration in README and docs."""
    assert wrong(validator, block) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("sever: {}", "$"),
        ("server: {prot: 1}", "$.server"),
        ("server: {port: http}", "$.server.port"),
        ("server: {port: 70000}", "$.server.port"),
        ("server: {keep_alive: 75}", "$.server.keep_alive"),
        ("server: {max_body: 10}", "$.server.max_body"),
        ("services: {orders: {balancer: ewmaa}}", "$.services.orders.balancer"),
        ("services: {orders: {instances: [9001]}}", "$.services.orders.instances[0]"),
        ("services: {orders: {retry: {on: [teapot]}}}", "$.services.orders.retry.on[0]"),
        ("routes: {prefix: /}", "$.routes"),
        ("routes: [{prefix: api}]", "$.routes[0].prefix"),
        ("routes: [{auth: maybe}]", "$.routes[0].auth"),
        ("auth: {jwt: {secret: {path: x}}}", "$.auth.jwt"),
        ("discovery: {consul: {expose: some}}", "$.discovery.consul.expose"),
    ],
)
def test_what_is_wrong_is_marked_where_it_is(validator, text, where):
    """A typing error, a missing unit, a value that is none of those."""
    assert [error.split(": ")[0] for error in wrong(validator, text)] == [where]


@pytest.mark.parametrize(
    "text",
    [
        "server: {port: '${PORT}', keep_alive: '${KEEP:-75}s', host: '${HOST}'}",
        "services: {orders: {balancer: '${BALANCER}', panic_threshold: '${PANIC:-0.5}'}}",
        "metrics: {enabled: '${METRICS:-true}'}",
        "server:",
        "{}",
    ],
)
def test_variables_and_empty_sections_may_stand_anywhere(validator, text):
    """The gateway takes them, so an editor must not mark them."""
    assert wrong(validator, text) == []


def test_defaults_are_written_as_in_the_file(validator):
    """With their units."""
    sections = validator.schema["$defs"]
    assert sections["ServerSettings"]["properties"]["keep_alive"]["default"] == "75s"
    assert sections["ServerSettings"]["properties"]["max_head"]["default"] == "64KiB"
    assert sections["ServerSettings"]["properties"]["port"]["default"] == 8080


def test_what_this_version_does_not_have_is_said():
    """Whole keys, and single values."""
    sections = schema()["$defs"]
    assert sections["ConsulSettings"]["properties"]["failover_datacenters"]["description"].endswith("Not available in this version.")
    assert descriptions()["ServerSettings"]["port"] == "Port to listen on; 0 lets the system choose."
