"""The command line on real terminals, and with everything that can be wrong between it and a gateway."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.gateway_process import ROOT, GatewayProcess
from tests.support.launch import wait_until
from tests.support.terminal import Terminal
from tests.support.upstream_server import UpstreamThread, answer, fixed

COMMAND = (sys.executable, "-m", "lbgateway")
TOKEN = "0123456789abcdef0123456789abcdef"
SERVICES = {f"service-{n:03d}": {"instances": [f"10.0.{n}.{i}:9000" for i in (1, 2, 3)]} for n in range(200)}


def config_of(**more: Any) -> dict[str, Any]:
    return {
        "auth": {"default": "none"},
        "discovery": {"provider": "static"},
        "services": {**SERVICES, "a-service-with-quite-a-long-name-indeed": {"instances": ["10.9.9.9:9000"]}},
        "logging": {"access_log": False},
        **more,
    }


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    with GatewayProcess(config_of()) as process:
        yield process


def environment(gateway: GatewayProcess, **more: str) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "LBGATEWAY_ADMIN_URL": gateway.url, **more}


@pytest.mark.parametrize(("columns", "rows", "shown"), [(80, 24, "SERVICE INSTANCE STATE REQ/S"), (200, 50, "LATENCY P99 REASON")])
def test_top_fits(gateway, columns, rows, shown):
    """All lines, at any size: the busiest, and how many there are besides. Ctrl-C gives the screen back, and is a good end."""
    with Terminal([*COMMAND, "top"], columns=columns, rows=rows, environment=environment(gateway)) as terminal:
        lines = terminal.until(lambda lines: any(line.startswith("and ") for line in lines))
        assert shown in " ".join(lines[1].split())
        assert lines[-1] == f"and {601 - (rows - 4)} more; Ctrl-C ends"
        assert len(lines) == rows
        terminal.type("\x03")
        assert terminal.wait() == 0
        assert b"\x1b[?1049l" in terminal.written


def test_top_follows_the_window(gateway):
    """Smaller and larger while it runs."""
    with Terminal([*COMMAND, "top"], columns=120, rows=40, environment=environment(gateway)) as terminal:
        terminal.until(lambda lines: "and 565 more; Ctrl-C ends" in lines)
        terminal.resize(80, 20)
        terminal.until(lambda lines: lines[-1:] == ["and 585 more; Ctrl-C ends"])
        terminal.type("\x03")
        assert terminal.wait() == 0


def test_top_waits_for_a_gateway_that_is_restarted():
    """What was seen last stays on the screen, with a word about it."""
    with GatewayProcess(config_of()) as one, Terminal([*COMMAND, "top"], environment=environment(one)) as terminal:
        terminal.until(lambda lines: any("ready" in line for line in lines))
        one.stop()
        lines = terminal.until(lambda lines: any("No answer" in line for line in lines))
        assert any("ready" in line for line in lines)
        one.start()
        terminal.until(lambda lines: not any("No answer" in line for line in lines))


@pytest.mark.parametrize(
    ("words", "more", "colours"),
    [
        (["top"], {"NO_COLOR": "1"}, False),
        (["upstreams", "service-001"], {"NO_COLOR": "1"}, False),
        (["upstreams", "service-001"], {}, True),
    ],
)
def test_colours_can_be_refused(gateway, words, more, colours):
    """As https://no-color.org asks."""
    with Terminal([*COMMAND, *words], environment=environment(gateway, **more)) as terminal:
        terminal.until(lambda lines: any("ready" in line for line in lines))
        assert (b"\x1b[32m" in terminal.written) is colours


@pytest.mark.parametrize("words", [["top"], ["upstreams", "--state", "ready"], ["explain", "service-001"]])
def test_a_terminal_that_knows_no_unicode_is_no_trouble(gateway, words):
    """Lines are drawn in ASCII, and what cannot be shown is a question mark."""
    more = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    with Terminal([*COMMAND, *words], columns=44, environment=environment(gateway, **more)) as terminal:
        terminal.until(lambda lines: any("-+-" in line or "ready" in line for line in lines))
        if words == ["top"]:
            terminal.type("\x03")
        assert terminal.wait() == 0
        assert terminal.written.isascii()
        assert b"Traceback" not in terminal.written


@pytest.mark.parametrize(
    ("words", "instances"), [(["upstreams"], 601), (["upstreams", "service-001"], 3), (["explain", "service-001"], 3), (["routes"], 0)]
)
def test_tables_fit_on_eighty_columns(gateway, words, instances):
    """With 200 services: each instance has one line, and says its state in it."""
    with Terminal([*COMMAND, *words], rows=1000, environment=environment(gateway)) as terminal:
        assert terminal.wait() == 0
        lines = terminal.lines()
        assert len([line for line in lines if " ready " in f"{line} "]) == instances
        assert len(lines) < 612


def run(*words: str, **more: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LBGATEWAY_")}
    done = subprocess.run(
        [*COMMAND, *words], env={**environ, "PYTHONPATH": str(ROOT), **more}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_each_command_that_asks_a_gateway_answers_in_json(gateway):
    """One document on stdout, and nothing else."""
    target = ("service-001", "10.0.1.1:9000")
    for words in (
        ("upstreams",), ("upstreams", "service-001"), ("explain", *target), ("routes",), ("top",), ("drain", *target), ("undrain", *target),
        ("eject", *target, "--for", "1s"), ("uneject", *target), ("weight", *target, "5"), ("weight", *target, "default"),
    ):  # fmt: skip
        code, out, err = run(*words, "--json", LBGATEWAY_ADMIN_URL=gateway.url)
        assert (code, err, type(json.loads(out))) == (0, "", dict), words


ALL = [("upstreams",), ("explain", "a"), ("routes",), ("drain", "a", "b"), ("weight", "a", "b", "1"), ("top",)]


@pytest.mark.parametrize("words", ALL, ids=lambda words: words[0])
def test_what_is_wrong_is_one_sentence_with_what_to_do(words):
    """No gateway, a silent one, another program, no token, the wrong one: exit code 1 and nothing on stdout."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    config = {"auth": {"default": "none"}, "discovery": {"provider": "static"}, "admin": {"token": TOKEN, "allow_loopback": False}}
    with UpstreamThread(fixed(answer(b"<html>"))) as other, GatewayProcess(config) as gateway:
        for url, token, says in (
            (nobody, "", f"no gateway answers at {nobody}: Connection refused. Is it running? Another address: --admin URL, or LBGATEWAY_"),
            (f"http://{other.address}", "", "is not a lbgateway: it sent no JSON for /admin/"),
            (gateway.url, "", "wants the admin token: pass admin.token of its configuration with --token or LBGATEWAY_ADMIN_TOKEN."),
            (gateway.url, "wrong", "does not accept this token: pass admin.token of its configuration"),
            (gateway.url.replace("http:", "https:"), TOKEN, "does not speak TLS as we do"),
        ):
            code, out, err = run(*words, "--admin", url, *(["--token", token] if token else []))
            assert (code, out, err.count("\n")) == (1, "", 1), err
            assert err.startswith("lbgateway: ")
            assert says in err


def test_a_token_that_cannot_be_sent_is_not_shown(gateway):
    """Wrong usage, with the place to look at."""
    code, out, err = run("routes", "--admin", gateway.url, "--token", "secret\nsecond line")
    assert (code, out) == (2, "")
    assert "--token or LBGATEWAY_ADMIN_TOKEN" in err
    assert "secret" not in err


def test_names_that_there_are_not(gateway):
    """The nearest one, for services and instances, in questions and in orders."""
    for words, says in (
        (("explain", "service-0001"), "did you mean `service-001`?"),
        (("upstreams", "servce-001"), "did you mean `service-001`?"),
        (("drain", "service-0001", "x"), "did you mean `service-001`?"),
        (("drain", "service-001", "10.0.1.1:900"), "did you mean `10.0.1.1:9000`?"),
        (("explain", "service-001", "10.0.1.1:900"), "did you mean `10.0.1.1:9000`? It has 10.0.1.1:9000, 10.0.1.2:9000, 10.0.1.3:9000."),
    ):
        code, out, err = run(*words, "--admin", gateway.url)
        assert (code, out) == (1, "")
        assert says in err
    code, out, err = run("upstreams", "--state", "raedy", "--admin", gateway.url)
    assert (code, out) == (2, "")
    assert "state: one of ready, warming" in err


def test_a_certificate_of_ones_own_is_believed_when_it_is_named(tmp_path: Path):
    """And before that the command says how to name it; a file that holds none is wrong usage."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("127.0.0.1")
    with GatewayProcess(config_of(server={"tls": {"cert": cert, "key": key}}), tls=authority.trusting()) as gateway:
        code, _, err = run("routes", "--admin", gateway.url)
        assert code == 1
        assert err.startswith(f"lbgateway: the certificate of {gateway.url} is not believed: ")
        assert "--cacert FILE, or LBGATEWAY_ADMIN_CACERT" in err
        assert run("routes", "--admin", gateway.url, "--cacert", authority.ca)[0] == 0
        assert run("routes", "--admin", gateway.url, LBGATEWAY_ADMIN_CACERT=authority.ca)[0] == 0
        for file, says in ((str(tmp_path / "none.pem"), "No such file"), (key, "holds no certificate")):
            code, _, err = run("routes", "--admin", gateway.url, "--cacert", file)
            assert (code, says in err) == (2, True), err
        code, _, err = run("routes", "--admin", gateway.url.replace("https:", "http:"))
        assert code == 1
        assert "Does it speak TLS (https://…)?" in err


def test_ctrl_c_ends_a_command_that_waits():
    """A gateway that says nothing: no traceback, and the exit code of a shell."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Terminal([*COMMAND, "routes", "--admin", url], environment={"PYTHONPATH": str(ROOT)}) as terminal:
            silent.settimeout(20)
            connection, _ = silent.accept()
            with connection:
                wait_until(lambda: connection.recv(1, socket.MSG_PEEK) != b"", 5, lambda: "nothing was asked")
                terminal.type("\x03")
                assert terminal.wait() == 130
                assert terminal.lines()[-1].endswith("lbgateway routes: stopped")


def test_wrong_usage_is_2():
    """For all commands; the usage is shown."""
    for words in (["drain", "a"], ["explain"], ["top", "--nonsense"], ["nonsense"], ["routes", "--admin", "ftp://x"], []):
        code, out, err = run(*words)
        assert (code, out) == (2, ""), words
        assert err
