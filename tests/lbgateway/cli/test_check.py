"""`lbgateway check`."""

import io

import pytest

from lbgateway.cli import FINE, NO, main
from lbgateway.cli.check import run


def checked(path, **environ) -> tuple[int, str]:
    out = io.StringIO()
    return run(path, out, environ), out.getvalue()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("auth: {default: none}", "0 services, the built-in route /api/{service}, instances from consul"),
        ("auth: {default: none}\nservices: {a: {}, '*': {}}\nroutes: [{service: a}]", "1 service, 1 route, instances from consul"),
        ("auth: {default: none}\nroutes: []\nservices: {a: {}, b: {}}", "2 services, 0 routes, instances from consul"),
    ],
)
def test_a_good_file_gets_one_friendly_line(tmp_path, text, line):
    """With what a person would check first."""
    path = tmp_path / "gw.yaml"
    path.write_text(text)

    assert checked(path) == (FINE, f"{path} is fine: {line}\n")


def test_a_bad_file_gets_every_error_with_its_line(tmp_path):
    """The nearest right key among them."""
    path = tmp_path / "gw.yaml"
    path.write_text("auth: {default: none}\nserver:\n  prot: 1\n  keep_alive: 5\n")

    code, said = checked(path)

    assert code == NO
    assert said.splitlines() == [
        f"{path}:3: server.prot: unknown key; did you mean `port`?",
        f"{path}:4: server.keep_alive: a duration needs a unit: write 5s for seconds or 5ms for milliseconds",
    ]


def test_warnings_are_shown_and_forgiven(tmp_path):
    """They do not change the exit code."""
    path = tmp_path / "gw.yaml"
    path.write_text("auth: {default: none}\nroutes:\n  - {prefix: /admin, service: a}")

    code, said = checked(path)

    assert code == FINE
    assert said.startswith(f"{path}:3: routes[0].prefix: is never reached: /admin belongs to the gateway itself (a warning)\n")


def test_a_missing_file_is_an_answer_too(tmp_path):
    """It ran, and the answer is no."""
    assert checked(tmp_path / "gone.yaml") == (NO, f"{tmp_path}/gone.yaml: cannot be read: No such file or directory\n")


def test_the_command_looks_at_its_own_environment(tmp_path, monkeypatch, capsys):
    """What would be in force if the gateway were started here."""
    path = tmp_path / "gw.yaml"
    path.write_text("auth: {default: none}")
    monkeypatch.setenv("LBGATEWAY_SERVER__PORT", "nonsense")

    assert main(["check", str(path)]) == NO
    assert capsys.readouterr().out == "LBGATEWAY_SERVER__PORT: server.port: must be a whole number\n"
