"""Certificates of services: what is wrong with them is said before they are used."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from lbgateway.config.service import ServiceTls
from lbgateway.config.tls import client_context, fingerprint, tls_errors
from tests.support.http2_server import write_certificates


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    write_certificates(made)
    (made / "text.pem").write_text("no certificate")
    return made


def tls(folder: Path, **names: str) -> ServiceTls:
    return ServiceTls.model_validate(names, context={"folder": str(folder)})


def test_servers_are_verified_unless_the_operator_says_no(folder: Path) -> None:
    """Name and signature."""
    for given in (None, tls(folder, ca="ca.pem"), tls(folder, cert="client.pem", key="client.key")):
        context = client_context(given)
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    careless = client_context(ServiceTls(verify=False))
    assert (careless.verify_mode, careless.check_hostname) == (ssl.CERT_NONE, False)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, []),
        ({"ca": "ca.pem", "cert": "client.pem", "key": "client.key"}, []),
        ({"ca": "text.pem"}, ["ca"]),
        ({"cert": "text.pem", "key": "client.key"}, ["cert"]),
        ({"cert": "client.pem", "key": "server.key"}, ["cert"]),
        ({"cert": "client.pem"}, ["cert"]),
        ({"key": "client.key"}, ["key"]),
        ({"ca": "text.pem", "cert": "client.pem", "key": "server.key"}, ["ca", "cert"]),
    ],
)
def test_each_wrong_file_is_named(folder: Path, given: dict[str, str], wrong: list[str]) -> None:
    """At its own key."""
    assert [path[0] for path, _ in tls_errors(tls(folder, **given))] == wrong


def test_a_renewed_certificate_is_another_one(folder: Path) -> None:
    """The name has not changed, the file has."""
    given = tls(folder, ca="ca.pem")
    before = fingerprint(given)
    assert fingerprint(given) == before
    os.utime(folder / "ca.pem", ns=(1, 1))

    assert fingerprint(given) != before
    assert fingerprint(None) == ()
