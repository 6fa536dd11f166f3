"""Certificates for one test: an authority, and what it signs, as PEM files in a folder."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import trustme


class Authority:
    """Signs in `folder`; every certificate has files of its own."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._ca = trustme.CA()
        self._folder = folder
        self._name = name
        self._issued = 0
        self.ca = str(folder / f"{name}.pem")
        self._ca.cert_pem.write_to_path(self.ca)

    def issue(self, *names: str, expired: bool = False) -> tuple[str, str]:
        """A certificate for host names or addresses: its file, with the chain, and that of its key."""
        self._issued += 1
        over = dt.datetime.now(dt.UTC) - dt.timedelta(days=1) if expired else None
        leaf = self._ca.issue_cert(*names, not_after=over)
        cert, key = (str(self._folder / f"{self._name}-{self._issued}.{kind}.pem") for kind in ("cert", "key"))
        for number, blob in enumerate(leaf.cert_chain_pems):
            blob.write_to_path(cert, append=number > 0)
        leaf.private_key_pem.write_to_path(key)
        return cert, key

    def trusting(self, pair: tuple[str, str] | None = None) -> ssl.SSLContext:
        """A client that trusts this authority; `pair` shows who it is."""
        context = ssl.create_default_context(cafile=self.ca)
        if pair is not None:
            context.load_cert_chain(*pair)
        return context
