"""From text and environment to settings, or to every error at once."""

import pytest

from lbgateway.config import ConfigErrors, Override, load, load_text
from tests.lbgateway.config.reading import errors_of, settings_of


def test_all_errors_come_at_once_in_the_order_of_lines():
    """One run of `check`, not ten."""
    text = """\
        server:
          prot: 9000
          keep_alive: 5
        services:
          orders: {balancer: maglev}
        routes:
          - prefix: api
          - {prefix: /x, service: a}
          - {prefix: /x/, service: b}
        auth: {default: none}
        compression: {min_size: 1KiB}
        server: {}
        health: {required: '${GONE}'}
    """

    assert errors_of(text, LBGATEWAY_ADMIN__SCOPES="x", LBGATEWAY_LOGGING__LEVEL="[") == [
        "gw.yaml:2: server.prot: unknown key; did you mean `port`?",
        "gw.yaml:3: server.keep_alive: a duration needs a unit: write 5s for seconds or 5ms for milliseconds",
        "gw.yaml:5: services.orders.balancer: `maglev` is not available in this version",
        "gw.yaml:7: routes[0].prefix: must begin with a slash: /api",
        "gw.yaml:9: routes[2]: matches the same requests as the route in line 8 (any host /x); neither is more specific",
        "gw.yaml:11: compression: not available in this version",
        "gw.yaml:12: server: given twice, first in line 1",
        "gw.yaml:13: health.required: the environment variable GONE is not set (${GONE:-…} would give a default)",
        "LBGATEWAY_ADMIN__SCOPES: admin.scopes: unknown key; did you mean `scope`?",
        "LBGATEWAY_LOGGING__LEVEL: logging.level: not a YAML value; put it in quotes if it is meant as text",
    ]


def test_variables_win_over_the_file_and_options_over_variables():
    """Whatever the file says, even nonsense."""
    text = "auth: {default: none}\nserver: {port: nonsense, drain_timeout: 1s}"
    environ = {"LBGATEWAY_SERVER__PORT": "9000", "LBGATEWAY_SERVER__DRAIN_TIMEOUT": "2s", "LBGATEWAY_SERVICES__ORDERS__BALANCER": "p2c"}

    settings = load_text(text, "gw.yaml", environ, [Override("--port", ("server", "port"), "9001")])

    assert (settings.server.port, settings.server.drain_timeout) == (9001, 2.0)
    assert settings.service("orders").balancer == "p2c"


def test_an_override_takes_the_errors_of_the_file_away():
    """The value that was wrong is gone."""
    assert errors_of("auth: {default: none}\nserver: {port: '${GONE}'}", LBGATEWAY_SERVER__PORT="1") == []


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("LBGATEWAY_SERVR__PORT", "1", "servr: unknown key; did you mean `server`?"),
        ("LBGATEWAY_SERVER__PROT", "1", "server.prot: unknown key; did you mean `port`?"),
        ("LBGATEWAY_SERVER__PORT", "http", "server.port: must be a whole number"),
        ("LBGATEWAY_SERVER__PORT__X", "1", "server.port.x: `x` cannot be set: there is a value here, not a map"),
        ("LBGATEWAY_COMPRESSION", "{min_size: 1KiB}", "compression: not available in this version"),
        ("LBGATEWAY_ROUTES__5__AUTH", "none", "routes.5.auth: there is a list with 1 items here, and no item 5"),
    ],
)
def test_a_bad_variable_is_told_as_what_it_is(name, value, sentence):
    """Its own name stands where otherwise file and line stand."""
    text = "auth: {default: none}\nserver: {port: 1}\nroutes: [{service: a}]"

    assert errors_of(text, **{name: value}) == [f"{name}: {sentence}"]


def test_other_variables_of_ours_are_no_overrides():
    """The command line's and the tests'."""
    settings_of(
        "auth: {default: none}", LBGATEWAY_ADMIN_URL="http://x", LBGATEWAY_ADMIN_TOKEN="t", LBGATEWAY_TEST_CONSUL="x", LBGATEWAY_TEST__Y="x"
    )


def test_a_file_is_read_with_what_lies_beside_it(tmp_path):
    """Secrets, and a byte-order mark that some editors leave."""
    (tmp_path / "key").write_text("0123456789abcdef0123456789abcdef\n")
    (tmp_path / "gw.yaml").write_bytes(b"\xef\xbb\xbfauth: {jwt: {secret: {file: key}}}")

    jwt = load(tmp_path / "gw.yaml", {}).auth.jwt

    assert jwt is not None
    assert jwt.secret is not None
    assert jwt.secret.reveal() == "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read: No such file"), (b"\xff\xfe", "cannot be read: it is not UTF-8")])
def test_a_file_that_cannot_be_read_is_an_error_like_any_other(tmp_path, content, said):
    """Who reloads a configuration handles one kind of error."""
    path = tmp_path / "gw.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigErrors) as caught:
        load(path, {})

    assert str(caught.value).startswith(f"{path}: {said}")


def test_no_error_shows_a_secret():
    """Neither the schema's, nor the parser's, nor the chain of exceptions."""
    text = "auth: {jwt: {secret: hunter2, issuer: [hunter2], leeway: hunter2}}\nadmin: {token: [hunter2]}\nserver: hunter2"

    with pytest.raises(ConfigErrors) as caught:
        load_text(text, "gw.yaml", {"LBGATEWAY_ADMIN__TOKEN": "[hunter2"})

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_an_unreadable_file_has_one_error_only():
    """What an empty configuration lacks would distract."""
    assert len(errors_of("server:\n\tport: 1")) == 1


def test_json_is_yaml():
    """Programs write it."""
    assert settings_of('{"auth": {"default": "none"}, "server": {"port": 81, "keep_alive": "5s"}}').server.port == 81


def test_an_error_of_a_service_in_capitals_has_its_line():
    """Settings know it in lower case, the file does not."""
    text = "auth: {default: none}\nservices:\n  Orders:\n    slow_start: 1s\n    tls: {}\n"
    assert errors_of(text) == ["gw.yaml:5: services.orders.tls: is for scheme: https, and this service's is http"]


@pytest.mark.parametrize(
    "text",
    ["server: {tls: {cert: NAME, key: NAME}}", "discovery: {consul: {snapshot: NAME}}", "spa: {directory: NAME}"],
)
def test_a_path_that_cannot_be_looked_at_is_told(text):
    """Too long, or behind a folder that is closed to us."""
    errors = errors_of("auth: {default: none}\n" + text.replace("NAME", "x" * 300))
    assert errors
    assert all(error.startswith("gw.yaml:2: ") and error.endswith(": File name too long") for error in errors)
