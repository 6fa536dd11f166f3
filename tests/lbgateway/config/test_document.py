"""YAML with lines."""

import pytest

from lbgateway.config.document import BROKEN, Document, parse, parse_value, resolve, text_of
from lbgateway.config.errors import Origin


def read(text: str, **environ: str) -> Document:
    return parse(text, "gw.yaml", environ)


def complaints(text: str, **environ: str) -> list[str]:
    return [str(finding) for finding in read(text, **environ).findings]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("8080", 8080),
        ("-3", -3),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("on", "on"),
        ("yes", "yes"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("0x10", "0x10"),
        (".inf", ".inf"),
        ("127.0.0.1", "127.0.0.1"),
        ("9" * 5000, "9" * 5000),
        ("5s", "5s"),
    ],
)
def test_plain_scalars_have_no_surprises(text, value):
    """None of YAML 1.1's booleans, sexagesimals, dates and octals."""
    assert resolve(text) == value
    assert type(resolve(text)) in (type(value), *type(value).__subclasses__())


def test_numbers_remember_their_spelling():
    """A secret of digits keeps its zeros."""
    assert text_of(resolve("00123")) == "00123"
    assert text_of(resolve("1.50")) == "1.50"
    assert text_of(resolve("true")) == "true"
    assert text_of(None) is None
    assert text_of([1]) is None


def test_keys_are_text_whatever_they_look_like():
    """`retry: {on: …}` would be a boolean key in YAML 1.1."""
    assert read("{on: 1, null: 2, 3: 4}").root == {"on": 1, "null": 2, "3": 4}


def test_each_value_knows_its_line():
    """Of a key its own line, of a list's item the item's."""
    document = read("server:\n  port: 1\nlist:\n  - a\n  - b: 2\n    c: 3\n")

    assert document.origin(("server", "port")) == Origin("gw.yaml", 2)
    assert document.origin(("list", 1)) == Origin("gw.yaml", 5)
    assert document.origin(("list", 1, "c")) == Origin("gw.yaml", 6)
    assert document.origin(("server", "missing", "deep")) == Origin("gw.yaml", 1)
    assert document.origin(("nothing",)) == Origin("gw.yaml", 1)


def test_merge_keys_work_and_own_keys_win():
    """`<<` takes maps in, of several the first one wins."""
    document = read("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  x: 0\n  <<: [*a, *b]\nd: {<<: *a, y: 9}")

    assert document.root["c"] == {"x": 0, "y": 1, "z": 2}
    assert document.root["d"] == {"x": 1, "y": 9}
    assert document.origin(("c", "x")).line == 4
    assert document.origin(("c", "z")).line == 2
    assert document.findings == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3", "gw.yaml:3: a: given twice, first in line 1"),
        ("server:\n\tport: 1", "gw.yaml:2: YAML does not allow tabs here, nor for indentation; use spaces"),
        ("a: [1, 2", "gw.yaml:1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: *word", 'gw.yaml:1: what begins with * is an alias of YAML; put it in quotes if it is meant as text: "*"'),
        ("- a", "gw.yaml:1: the file must be a map, such as `server: {port: 8080}`"),
        ("a: 1\n---\nb: 2", "gw.yaml:2: not valid YAML: but found another document"),
        ("a: \x07", "gw.yaml:1: a character that YAML does not allow (is the file UTF-8 text?)"),
        ("a: !include b", "gw.yaml:1: a: tags such as !include are not supported"),
        ("a: &a [*a]", "gw.yaml:1: a[0]: an alias that contains itself"),
        ("? [a]\n: b", "gw.yaml:1: a key must be text"),
        ("a:\n  <<: 3", "gw.yaml:2: a: `<<` takes a map or a list of maps"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text, sentence):
    """In the gateway's words, not the parser's."""
    assert sentence in complaints(text)


def test_deep_nesting_is_an_error_and_not_a_crash():
    """A file of brackets only is no configuration."""
    assert complaints("a: " + "[" * 20_000) == ["gw.yaml:1: nested too deeply"]


def test_no_word_of_the_file_is_quoted_by_a_syntax_error():
    """It may be a secret."""
    assert "hunter2" not in "".join(
        complaints("token: *hunter2") + complaints("a: %hunter2\n b: &hunter2 &hunter2 x") + complaints("a: 'hunter2")
    )


def test_variables_are_resolved_like_what_is_written():
    """A plain reference may become a number, a quoted one stays text, an empty one is null."""
    document = read('a: ${N}\nb: "${N}"\nc: ${E:-}\nd: x${N}y\ne: "$${N}"', N="7")

    assert document.root == {"a": 7, "b": "7", "c": None, "d": "x7y", "e": "${N}"}


def test_a_missing_variable_breaks_its_value_only():
    """Its line is told, the rest is read."""
    document = read("a: 1\nb: ${GONE} ${LOST}")

    assert document.root == {"a": 1, "b": BROKEN}
    assert document.broken == {("b",)}
    assert [finding.origin.line for finding in document.findings] == [2, 2]
    assert repr(BROKEN) == "<broken>"


@pytest.mark.parametrize(
    ("text", "value"),
    [("9000", 9000), ("true", True), ("[a, 1]", ["a", 1]), ("{a: 5s}", {"a": "5s"}), ('"9"', "9"), ("*x: @", "*x: @"), ("", None)],
)
def test_a_variable_gives_a_value_as_yaml_or_text(text, value):
    """YAML only where it announces itself, so that any password may be given as it is."""
    assert parse_value(text) == value


@pytest.mark.parametrize("text", ["[", "{a", '"x', "[1] 2", "{a: 1}\nb: 2"])
def test_a_variable_that_looks_like_yaml_must_be_yaml(text):
    """The way out is named."""
    with pytest.raises(ValueError, match="quotes"):
        parse_value(text)


def test_aliases_within_aliases_come_to_an_end():
    """A few lines must not cost the memory of the machine."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    [finding] = parse("\n".join(lines), "gw.yaml", {}).findings
    assert finding.message == "more than 200,000 values; are there aliases within aliases?"
