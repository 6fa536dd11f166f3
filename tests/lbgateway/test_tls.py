"""What clients are greeted with."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from lbgateway.config.server import ServerTls
from lbgateway.tls import server_context
from tests.support.certificates import Authority


def test_without_settings_there_is_no_tls():
    """Plain HTTP, as behind a proxy that ends TLS itself."""
    assert server_context(None) is None


def test_old_protocols_are_not_spoken_and_clients_need_nothing(tmp_path: Path):
    """RFC 8996; who has a certificate may keep it."""
    cert, key = Authority(tmp_path).issue("gw.example")
    context = server_context(ServerTls(cert=cert, key=key))

    assert context is not None
    assert (context.minimum_version, context.verify_mode) == (ssl.TLSVersion.TLSv1_2, ssl.CERT_NONE)


def test_with_an_authority_for_clients_everybody_needs_a_certificate(tmp_path: Path):
    """Of that authority, and no other."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("gw.example")
    context = server_context(ServerTls(cert=cert, key=key, client_ca=authority.ca))

    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


def test_files_that_went_bad_since_they_were_checked_are_an_error(tmp_path: Path):
    """Nobody is asked for a password, and no half of a pair is taken."""
    cert, key = Authority(tmp_path).issue("gw.example")
    settings = ServerTls(cert=cert, key=key)
    Path(key).write_text("gone")

    with pytest.raises(OSError, match="PEM"):
        server_context(settings)
