"""The file behind `discovery.file`: what may be written, and every mistake with its line."""

import textwrap
from pathlib import Path

import pytest

from lbgateway.config import ConfigErrors
from lbgateway.config.instances import read_instances
from tests.lbgateway.config.reading import settings_of

STATES = "ready, passing, warning, critical, maintenance, draining, suspect"


def listed(folder: Path, text: str) -> dict[str, list[str]]:
    """``{"orders": ["127.0.0.1:9001 ready"]}``."""
    file = folder / "instances.yaml"
    file.write_text(textwrap.dedent(text))
    return {name: [f"{one.host}:{one.port} {one.state}" for one in items] for name, items in read_instances(file, {"HOST": "db"}).items()}


def errors(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as refused:
        listed(folder, text)
    return [str(error).replace(f"{folder}/", "") for error in refused.value.errors]


@pytest.mark.parametrize(
    "text",
    [
        "Orders: ['127.0.0.1:9001']\nusers: []",
        "orders: [{address: '127.0.0.1:9001'}]\nusers:",
        "services: {orders: [127.0.0.1:9001], users: []}",
        "services:\n  orders: {instances: [127.0.0.1:9001]}\n  users: {}",
        '{"orders": ["127.0.0.1:9001"], "users": []}',
        '{"services": {"orders": {"instances": [{"address": "127.0.0.1:9001", "state": "ready"}]}, "users": {"instances": []}}}',
    ],
)
def test_one_list_in_many_spellings(tmp_path: Path, text: str):
    """YAML or JSON, short or as in the configuration; names in lower case."""
    assert listed(tmp_path, text) == {"orders": ["127.0.0.1:9001 ready"], "users": []}


def test_everything_that_may_be_said_of_an_instance(tmp_path: Path):
    """The keys of the configuration and two more; variables of the environment."""
    file = tmp_path / "instances.yaml"
    file.write_text("orders:\n- {address: '${HOST}:1', id: a, weight: 3, tags: [x], meta: {k: 1}, zone: z, state: draining, reason: why}")
    [one] = read_instances(file, {"HOST": "db"})["orders"]

    assert (one.host, one.port, one.id, one.weight, one.tags, one.meta, one.zone) == ("db", 1, "a", 3, ("x",), {"k": "1"}, "z")
    assert (one.state, one.reason) == ("draining", "why")


def test_no_services_is_a_list_too(tmp_path: Path):
    """If it is said."""
    assert listed(tmp_path, "{}") == {}


def test_a_service_may_be_called_services(tmp_path: Path):
    """A list under that name is a service like others."""
    assert listed(tmp_path, "services: [127.0.0.1:1]") == {"services": ["127.0.0.1:1 ready"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["instances.yaml:1: the file is empty; write {} if there is no service"]),
        ("# soon\n---\n", ["instances.yaml:1: the file is empty; write {} if there is no service"]),
        ("orders: [", ["instances.yaml:1: not valid YAML: expected the node content, but found '<stream end>'"]),
        ("- 127.0.0.1:9001", ["instances.yaml:1: the file must be a map, such as `orders: [127.0.0.1:9001]`"]),
        (
            "orders:\n- 127.0.0.1\n- {address: 127.0.0.1:9002, wieght: 3}\n",
            [
                "instances.yaml:2: orders[0]: must be host:port, such as 127.0.0.1:9001",
                "instances.yaml:3: orders[1].wieght: unknown key; did you mean `weight`?",
            ],
        ),
        (
            "services:\n  orders:\n    instances:\n    - {weight: 3}\n    - {address: 'a:1', state: drainig}",
            [
                "instances.yaml:4: services.orders.instances[0].address: is required",
                f"instances.yaml:5: services.orders.instances[1].state: must be one of {STATES}; did you mean `draining`?",
            ],
        ),
        ("orders: 127.0.0.1:9001", ["instances.yaml:1: orders: must be a list, such as [a, b]"]),
        ("orders: {balancer: ewma}", ["instances.yaml:1: orders.balancer: unknown key"]),
        ("a/b: []", ["instances.yaml:1: a/b: not a service name: letters, digits, - _ . only"]),
        ("orders: [a:1, b:1, a:1]", ["instances.yaml:1: orders[2]: has the id of item 0: a:1"]),
        (
            "orders: [a:1]\nORDERS: [b:1]",
            ["instances.yaml:2: ORDERS: is the same service as `orders`: names are compared without regard to case"],
        ),
        (
            "orders: ['${ABSENT}:1']",
            ["instances.yaml:1: orders[0]: the environment variable ABSENT is not set (${ABSENT:-…} would give a default)"],
        ),
    ],
)
def test_every_mistake_has_its_line(tmp_path: Path, text: str, said: list[str]):
    """Keys as they were written, not as they are read."""
    assert errors(tmp_path, text) == said


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path):
    """Gone, or no text."""
    with pytest.raises(ConfigErrors, match=r"absent.yaml: cannot be read: No such file or directory"):
        read_instances(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigErrors, match="not UTF-8 text"):
        read_instances(tmp_path / "binary.yaml")


def test_the_configuration_is_checked_with_its_list(tmp_path: Path):
    """One command finds the mistakes of both; a bad place is told once."""
    file = tmp_path / "instances.yaml"
    file.write_text("orders: [x]")
    base = "auth: {default: none}\ndiscovery: {provider: file%s}"
    with pytest.raises(ConfigErrors, match=r"instances.yaml:1: orders\[0\]: must be host:port"):
        settings_of(base % f", file: {{path: {file}}}")
    with pytest.raises(ConfigErrors, match=r"gw.yaml:2: discovery.file.path: there is no file"):
        settings_of(base % ", file: {path: absent.yaml}")
    with pytest.raises(ConfigErrors, match=r"gw.yaml:2: discovery.provider: needs the file that lists the instances: file: {path: "):
        settings_of(base % "")
    file.write_text("orders: [a:1]")

    assert settings_of(base % f", file: {{path: {file}}}").warnings == ()
    [unused] = settings_of(f"auth: {{default: none}}\ndiscovery: {{file: {{path: {file}}}}}").warnings
    assert unused == "gw.yaml:2: discovery.file: is not used: discovery.provider is consul, not file"
