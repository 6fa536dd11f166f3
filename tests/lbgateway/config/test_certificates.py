"""What is said of certificates and keys that are not what they should be."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from lbgateway.config.certificates import certificate_error, expired, pair_error
from tests.lbgateway.config.reading import errors_of, settings_of
from tests.support.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_a_good_pair_is_good(authority):
    """Chain included."""
    assert pair_error(*authority.issue("gw.example")) is None
    assert certificate_error(authority.ca) is None


def test_a_key_of_another_certificate_is_told(authority):
    """The mistake of every renewal by hand."""
    (cert, _), (_, key) = authority.issue("gw.example"), authority.issue("gw.example")

    assert pair_error(cert, key) == f"the key in {key} does not belong to the certificate in {cert}"


def test_what_is_no_certificate_or_no_key_is_told(authority, tmp_path):
    """Mixed up, empty, locked."""
    cert, key = authority.issue("gw.example")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    locked = tmp_path / "locked.pem"
    private = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    locked.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"a password")
        )
    )

    assert pair_error(key, cert) == f"{key} holds no certificate in PEM form"
    assert pair_error(str(empty), key) == f"{empty} holds no certificate in PEM form"
    for wrong in (cert, str(empty), str(locked)):
        assert pair_error(cert, wrong) == f"{wrong} holds no private key in PEM form that can be used without a password"
    assert certificate_error(f"{tmp_path}/gone") == f"{tmp_path}/gone cannot be read: No such file or directory"
    assert pair_error(cert, f"{tmp_path}/gone") == f"{tmp_path}/gone cannot be read: No such file or directory"


def test_what_is_over_is_a_warning(authority):
    """The gateway serves all the same: a wrong clock must not stop it."""
    cert, key = authority.issue("gw.example", expired=True)
    settings = settings_of(f"auth: {{default: none}}\nserver:\n  tls: {{cert: {cert}, key: {key}}}\n")

    [warning] = settings.warnings
    assert warning.startswith(f"gw.yaml:3: server.tls.cert: the certificate in {cert} expired on ")
    assert expired(authority.issue("gw.example")[0]) is None


def test_the_errors_stand_at_their_keys(authority, tmp_path):
    """All that is wrong with it at once."""
    (cert, _), (_, key) = authority.issue("a.example"), authority.issue("b.example")
    text = f"auth: {{default: none}}\nserver:\n  tls:\n    cert: {cert}\n    key: {key}\n    client_ca: {key}\n"

    assert errors_of(text) == [
        f"gw.yaml:3: server.tls: the key in {key} does not belong to the certificate in {cert}",
        f"gw.yaml:6: server.tls.client_ca: {key} holds no certificate in PEM form",
    ]
    assert errors_of(f"auth: {{default: none}}\nserver: {{tls: {{cert: {cert}, key: {tmp_path}/gone}}}}") == [
        f"gw.yaml:2: server.tls.key: there is no file {tmp_path}/gone"
    ]
