"""`server`."""

import os

import pytest

from tests.lbgateway.config.reading import errors_of, settings_of


def test_the_defaults_are_the_contracts():
    """Seconds and bytes."""
    server = settings_of("auth: {default: none}").server

    assert (server.host, server.port, server.workers) == ("127.0.0.1", 8080, 1)
    assert (server.keep_alive, server.header_timeout, server.body_timeout, server.drain_timeout) == (75.0, 10.0, 30.0, 30.0)
    assert (server.max_head, server.max_headers, server.max_body, server.max_connections) == (65536, 128, None, 10_000)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("host: ''", "server.host: is empty, which would be every address of this machine: write 0.0.0.0 for that, or leave the key out"),
        ("port: 65536", "server.port: must be at most 65535"),
        ("port: -1", "server.port: must be at least 0"),
        ("port: http", "server.port: must be a whole number"),
        ("port: [1]", "server.port: must be a whole number"),
        ("max_head: 1MB2", "server.max_head: not a size: write for example 512B, 64KiB, 10MiB or 1GiB"),
        ("max_head: null", "server.max_head: not a size: write for example 512B, 64KiB, 10MiB or 1GiB"),
        ("max_body: [1]", "server.max_body: not a size: write for example 512B, 64KiB, 10MiB or 1GiB"),
        ("keep_alive: null", "server.keep_alive: not a duration: write for example 250ms, 5s, 1m30s or 1h"),
        ("max_headers: 0", "server.max_headers: must be at least 1"),
        ("keep_alive: 0s", "server.keep_alive: must be more than zero"),
        ("keep-alive: 5s", "server.keep-alive: unknown key; did you mean `keep_alive`?"),
        ("trusted_proxies: 10.0.0.0/8", "server.trusted_proxies: must be a list, such as [a, b]"),
    ],
)
def test_mistakes_are_told(text, sentence):
    """One sentence, at the key."""
    assert errors_of(f"auth: {{default: none}}\nserver:\n  {text}") == [f"gw.yaml:3: {sentence}"]


def test_a_deadline_needs_somebody_to_believe():
    """Without trusted proxies the field is only written, which is said; names of framing fields are none."""
    alone = settings_of("auth: {default: none}\nserver: {deadline_header: X-Left}")
    assert [text for text in alone.warnings if "deadline" in text] == [
        "gw.yaml:2: server.deadline_header: is believed from nobody while server.trusted_proxies is empty; it is only written"
    ]
    assert settings_of("auth: {default: none}\nserver: {deadline_header: X-Left, trusted_proxies: ['::1']}").warnings == ()
    assert len(errors_of("auth: {default: none}\nserver: {deadline_header: Content-Length}")) == 1


def test_workers_are_a_number_of_processes():
    """``auto`` is one for each core that this process may use, not that the machine has."""
    for text, processes in (("1", 1), ("3", 3), ("auto", len(os.sched_getaffinity(0)))):
        assert settings_of(f"auth: {{default: none}}\nserver: {{workers: {text}}}").server.processes == processes
