"""Whether certificates and keys are what they should be, said before anybody's handshake fails."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lbgateway.config.errors import KeyPath
    from lbgateway.config.server import ServerTls


def server_tls_errors(tls: ServerTls) -> Iterator[tuple[KeyPath, str]]:
    """What is wrong with the files of ``server.tls``."""
    path: KeyPath = ("server", "tls")
    if error := pair_error(tls.cert, tls.key):
        yield path, error
    if tls.client_ca is not None and (error := certificate_error(tls.client_ca)):
        yield (*path, "client_ca"), error


def pair_error(cert: str, key: str) -> str | None:
    """What is wrong with a certificate and its key, as PEM files; None if they fit."""
    error = certificate_error(cert)
    if error is not None:
        return error
    try:
        # An empty password, or OpenSSL would ask whoever sits at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except ssl.SSLError as mismatch:
        if mismatch.reason == "KEY_VALUES_MISMATCH":
            return f"the key in {key} does not belong to the certificate in {cert}"
        return f"{key} holds no private key in PEM form that can be used without a password"
    except OSError as unreadable:
        return f"{key} cannot be read: {unreadable.strerror or unreadable}"
    return None


def certificate_error(cert: str) -> str | None:
    """What is wrong with a file of certificates in PEM form; None if there is at least one."""
    try:
        x509.load_pem_x509_certificates(Path(cert).read_bytes())
    except ValueError:
        return f"{cert} holds no certificate in PEM form"
    except OSError as unreadable:
        return f"{cert} cannot be read: {unreadable.strerror or unreadable}"
    return None


def expired(cert: str) -> str | None:
    """A warning if it is over, or not yet begun."""
    first = x509.load_pem_x509_certificates(Path(cert).read_bytes())[0]
    now = datetime.now(UTC)
    if now >= first.not_valid_after_utc:
        return f"the certificate in {cert} expired on {first.not_valid_after_utc:%Y-%m-%d}: no client will accept it"
    if now < first.not_valid_before_utc:
        return f"the certificate in {cert} is not valid before {first.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    return None
