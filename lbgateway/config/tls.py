"""Certificates of services: read once, when a configuration is taken over. The only reader of these files."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lbgateway.config.errors import KeyPath
    from lbgateway.config.service import ServiceTls


def client_context(tls: ServiceTls | None) -> ssl.SSLContext:
    """How to speak TLS to the instances of a service; without `tls` the authorities of this machine are believed.

    Raises OSError (ssl.SSLError among it) where a file is none of what it should be.
    """
    context = ssl.create_default_context(cafile=tls.ca if tls is not None else None)
    if tls is None:
        return context
    if tls.cert is not None:
        # An empty password, so that a key that has one is an error and not a question on the terminal.
        context.load_cert_chain(tls.cert, tls.key, password="")
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def fingerprint(tls: ServiceTls | None) -> tuple[object, ...]:
    """Changes with the settings, and with the files: a renewed certificate is taken over by a reload."""
    if tls is None:
        return ()
    files = [Path(name) for name in (tls.ca, tls.cert, tls.key) if name is not None]
    return (tls, *((str(path), path.stat().st_mtime_ns) for path in files))


def tls_errors(tls: ServiceTls) -> Iterator[tuple[KeyPath, str]]:
    """What is wrong with the files, below the service's ``tls``."""
    if tls.key is not None and tls.cert is None:
        yield ("key",), "a key is worth nothing without its `cert`"
        return
    for key, alone in (("ca", {"cert": None, "key": None}), ("cert", {"ca": None})):
        if getattr(tls, key) is None:
            continue
        try:
            client_context(tls.model_copy(update=alone))
        except OSError as error:
            yield (key,), f"cannot be used: {error.strerror or error}"
