"""References in values, and variables that win over keys."""

import pytest

from lbgateway.config.environment import Override, interpolate, overrides, proxies, put


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${A}", "1"),
        ("x${A}y${A}", "x1y1"),
        ("${B:-two}", "two"),
        ("${A:-two}", "1"),
        ("${EMPTY}", ""),
        ("${EMPTY:-two}", "two"),
        ("${B:-}", ""),
        ("${B:-a:-b}", "a:-b"),
        ("$${A}", "${A}"),
        ("$A $ {A}", "$A $ {A}"),
        ("nothing", "nothing"),
    ],
)
def test_references_are_replaced_as_in_a_shell(text, result):
    """`:-` also stands in for an empty variable."""
    assert interpolate(text, {"A": "1", "EMPTY": ""}) == result


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${GONE}", ["GONE is not set"]),
        ("${A}${B}", ["A is not set", "B is not set"]),
        ("${1x}", ["$${"]),
        ("${", ["$${"]),
        ("${A", ["$${"]),
    ],
)
def test_a_reference_without_value_is_an_error(text, said):
    """One for each, and no value is made up."""
    with pytest.raises(ExceptionGroup) as caught:
        interpolate(text, {})

    assert len(caught.value.exceptions) == len(said)
    assert all(words in str(error) for words, error in zip(said, caught.value.exceptions, strict=True))


def test_a_replaced_value_is_not_replaced_again():
    """What a variable holds is data."""
    assert interpolate("${A}", {"A": "${B}", "B": "x"}) == "${B}"


def test_variables_that_name_keys_are_told_from_others():
    """A double underscore or a top-level key makes an override; the rest belongs to the command line or to tests."""
    environ = {
        "LBGATEWAY_SERVER__PORT": "9000",
        "LBGATEWAY_CORS": "null",
        "LBGATEWAY_ADMIN_URL": "http://x",
        "LBGATEWAY_ADMIN_TOKEN": "t",
        "LBGATEWAY_TEST_CONSUL": "x",
        "LBGATEWAY_TEST__X": "x",
        "PATH": "/bin",
    }

    assert overrides(environ, {"server", "cors", "admin"}) == [
        Override("LBGATEWAY_CORS", ("cors",), "null"),
        Override("LBGATEWAY_SERVER__PORT", ("server", "port"), "9000"),
    ]


@pytest.mark.parametrize(
    ("root", "keys", "changed", "path"),
    [
        ({}, ("server", "port"), {"server": {"port": 1}}, ("server", "port")),
        ({"server": None}, ("server", "port"), {"server": {"port": 1}}, ("server", "port")),
        ({"server": {"port": 2, "host": "x"}}, ("SERVER", "PORT"), {"server": {"port": 1, "host": "x"}}, ("server", "port")),
        ({"services": {"My-App": {}}}, ("services", "my_app", "x"), {"services": {"My-App": {"x": 1}}}, ("services", "My-App", "x")),
        ({"routes": [{"a": 0}, {}]}, ("routes", "1", "auth"), {"routes": [{"a": 0}, {"auth": 1}]}, ("routes", 1, "auth")),
    ],
)
def test_an_override_finds_its_place(root, keys, changed, path):
    """In any case, with underscores for dashes, making the maps that are missing."""
    assert put(root, keys, 1) == (changed, path)


@pytest.mark.parametrize(
    ("root", "keys", "said"),
    [
        ({"a": 5}, ("a", "b"), "not a map"),
        ({"a": [1]}, ("a", "1"), "no item 1"),
        ({"a": [1]}, ("a", "x"), "no item x"),
    ],
)
def test_an_override_that_leads_nowhere_is_refused(root, keys, said):
    """Nothing is overwritten that the operator did not name."""
    with pytest.raises(ValueError, match=said):
        put(root, keys, 1)


def test_where_there_is_no_environment_no_variable_is_allowed():
    """Not even one with a default: it would tell whether there is such a variable."""
    assert interpolate("a $${NAME}", None) == "a ${NAME}"
    with pytest.raises(ExceptionGroup) as caught:
        interpolate("${NAME:-x}", None)
    assert "variables are for the file only" in str(caught.value.exceptions[0])


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, {}),
        ({"NO_PROXY": "*"}, {}),
        ({"HTTP_PROXY": ""}, {}),
        ({"HTTP_PROXY": "http://a:1", "https_proxy": "b:2", "NO_PROXY": "c"}, {"http": "http://a:1", "https": "http://b:2", "no": "c"}),
        ({"HTTP_PROXY": "http://a:1", "http_proxy": "http://b:1"}, {"http": "http://b:1"}),
        ({"HTTP_PROXY": "http://a:1", "http_proxy": ""}, {}),
        ({"ALL_PROXY": "socks5://a:1"}, {"all": "socks5://a:1"}),
        ({"ALL_PROXY": "gopher://a:1"}, {}),
    ],
)
def test_the_environments_proxies(environ, found):
    """As other programs read them."""
    assert proxies(environ) == found
