"""Public keys in a configuration."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, x25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lbgateway.config.public_key import PublicKey, algorithms_of, kind_of
from tests.lbgateway.config.reading import errors_of, settings_of
from tests.support.tokens import pem_of, private_key, weak_rsa

PEM = pem_of(private_key("RS256"))
RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


@pytest.mark.parametrize(
    ("key", "algorithms", "words"),
    [
        (private_key("RS256"), RSA, "RSA, 2048 bits"),
        (private_key("ES256"), {"ES256"}, "secp256r1"),
        (private_key("ES384"), {"ES384"}, "secp384r1"),
        (private_key("ES512"), {"ES512"}, "secp521r1"),
        (private_key("EdDSA"), {"EdDSA"}, "Ed25519"),
        (private_key("EdDSA", "448"), {"EdDSA"}, "Ed448"),
    ],
)
def test_a_key_fits_the_algorithms_of_its_kind(key, algorithms, words):
    """And no other: what a token asks for does not matter."""
    assert algorithms_of(key.public_key()) == algorithms
    assert (PublicKey(pem_of(key)).algorithms, kind_of(key.public_key())) == (algorithms, words)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (weak_rsa(), "is an RSA key of 1024 bits: it takes 2048 to 8192"),
        (ec.generate_private_key(ec.SECP256K1()), "is a key that signs no tokens (secp256k1)"),
        (x25519.X25519PrivateKey.generate(), "is a key that signs no tokens (X25519)"),
        (dsa.generate_private_key(2048), "is a key that signs no tokens (DSA)"),
    ],
)
def test_other_keys_are_refused(key, why):
    """With what they are."""
    with pytest.raises(ValueError, match="is a") as caught:
        PublicKey(pem_of(key))
    assert str(caught.value) == why


def yaml_of(pem: str) -> str:
    return '"' + pem.replace("\n", "\\n") + '"'


def test_it_is_text_or_a_file(tmp_path):
    """And shown as it is: everybody may know it."""
    (tmp_path / "key.pem").write_text(PEM)
    for given in (yaml_of(PEM), f"{{file: {tmp_path / 'key.pem'}}}", yaml_of("\n " + PEM + "\n")):
        settings = settings_of(f"auth: {{jwt: {{public_key: {given}}}}}")
        assert settings.auth.jwt is not None
        assert settings.auth.jwt.public_key == PublicKey(PEM)
        assert settings.auth.jwt.algorithms == ("RS256",)
        assert settings.masked()["auth"]["jwt"]["public_key"] == PEM
    assert repr(PublicKey(PEM)) == "PublicKey(RSA, 2048 bits)"
    assert len({PublicKey(PEM), PublicKey(PEM + "\n")}) == 1
    assert PublicKey(PEM) != PEM


def test_mistakes_are_told_without_showing_the_key(tmp_path):
    """A private key given by mistake must not end in a log."""
    private = private_key("RS256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    (tmp_path / "key.pem").write_text(private)
    where = "gw.yaml:1: auth.jwt.public_key: "
    both = where + "is a private key: the gateway needs only its public half (openssl pkey -in KEY -pubout)"
    missing = tmp_path / "missing.pem"
    for given, said in [
        (yaml_of(private), both),
        (f"{{file: {tmp_path / 'key.pem'}}}", both),
        (f"{{file: {missing}}}", f"{where}cannot read {missing}: No such file or directory"),
        ("{path: key.pem}", where + 'a public key is text, "${NAME}" from the environment, or {file: PATH} with nothing else in the map'),
        ("[1]", where + "a public key is text in PEM form, or {file: PATH}"),
        ("key.pem", where + "is no public key in PEM form (-----BEGIN PUBLIC KEY-----)"),
        (yaml_of(PEM[:60] + PEM[90:]), where + "is no public key in PEM form (-----BEGIN PUBLIC KEY-----)"),
    ]:
        assert errors_of(f"auth: {{jwt: {{public_key: {given}}}}}") == [said]


def test_a_certificate_will_do():
    """Providers publish them."""
    key, name = private_key("ES256"), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = builder.serial_number(1).not_valid_before(now - day).not_valid_after(now + day).sign(key, SHA256())
    assert PublicKey(made.public_bytes(Encoding.PEM).decode()).material == key.public_key()
