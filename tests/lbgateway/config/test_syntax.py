"""What is read beyond YAML's letter, and its errors."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lbgateway.config.document import parse
from lbgateway.config.syntax import nodes_of


def read(text: str, **environ: str) -> dict[str, object]:
    document = parse(text, "gw.yaml", environ)
    assert document.findings == []
    return document.root


def complaint(text: str) -> str:
    [finding] = parse(text, "gw.yaml", {}).findings
    return str(finding)


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("server: {port: ${P}, host: ${H:-::1}}", {"server": {"port": 9000, "host": "::1"}}),
        ("a: [${P}, x${P}y, ${L:-[1, 2]}]", {"a": [9000, "x9000y", "[1, 2]"]}),
        ("{a: ${P}}", {"a": 9000}),
        ('a: {b: "${P}", c: $${P}}', {"a": {"b": "9000", "c": "${P}"}}),
        ("routes: [{prefix: /api/{service}, strip_prefix: true}]", {"routes": [{"prefix": "/api/{service}", "strip_prefix": True}]}),
        ("dns: {name: {service}.service.consul}", {"dns": {"name": "{service}.service.consul"}}),
        ("prefix: /{service}", {"prefix": "/{service}"}),
        ("a: {b: '${P}{x}'}", {"a": {"b": "9000{x}"}}),
        ("{/x/{service}: 1}", {"/x/{service}": 1}),
    ],
)
def test_a_placeholder_needs_no_quotes_between_braces(text, root):
    """It is one value there, too, with its own type; quoted and escaped ones stay what they were."""
    assert read(text, P="9000") == root


def test_a_text_with_the_characters_of_the_veil_keeps_them():
    """Then there is no veil."""
    assert read('a: "\U000f0000${P}"', P="1") == {"a": "\U000f00001"}
    assert read('a: "\\U000F0000${P}"', P="1") == {"a": "\U000f00001"}


def shape(node: yaml.Node | None) -> object:
    """A tree with nothing but its texts."""
    if isinstance(node, yaml.MappingNode):
        return {"pairs": [(shape(key), shape(value)) for key, value in node.value]}
    return [shape(item) for item in node.value] if isinstance(node, yaml.SequenceNode) else getattr(node, "value", None)


PIECES = (*"a/{}[],.'\"\n\U000f0000", ": ", "- ", "  ", " #", "${P}", "${P:-b}", "$${P}", "${", "{service}")


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_what_yaml_can_read_is_read_as_yaml_does(text):
    """The veil adds; it changes nothing."""
    try:
        meant = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return
    assert shape(nodes_of(text)) == shape(meant)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("server:\n  port:\t80", "gw.yaml:2: YAML does not allow tabs here, nor for indentation; use spaces"),
        ("services:\n  *: {}", 'gw.yaml:2: what begins with * is an alias of YAML; put it in quotes if it is meant as text: "*"'),
        (
            "server: {port: 80\nauth: {}",
            "gw.yaml:2: not valid YAML: expected ',' or '}', but got ':'; the { of line 1 is still open",
        ),
        ("a: [1,\nb: 2\nc: 3", "gw.yaml:3: not valid YAML: expected ',' or ']', but got ':'; the [ of line 1 is still open"),
        ("a: 'x\nb: 2", "gw.yaml:2: not valid YAML: found unexpected end of stream; the quote of line 1 is still open"),
        (
            "server: port: 80",
            "gw.yaml:1: not valid YAML: a `key: value` where none can be; is the indentation right? A text with `: ` in it needs quotes",
        ),
        (
            "a: {b: ${C:-'}'}}",
            "gw.yaml:1: not valid YAML: expected ',' or '}', but got '{' (inside [ ] or { } write the variable in quotes)",
        ),
    ],
)
def test_errors_say_what_to_do(text, sentence):
    """And where what is still open was opened."""
    assert complaint(text) == sentence
