"""Who a client says it is by its certificate: the subject as one line, as directories and logs write it (RFC 4514). Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORT = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
"""The names that RFC 4514, section 3 has for what Python spells out; others stay as they are."""

_SPECIAL = re.compile(r'["+,;<>\\]|^[ #]| $')


def subject_of(certificate: Mapping[str, Any] | None) -> str | None:
    """``CN=billing,O=Shop``, the most specific first; None without a certificate, or one whose subject is empty.

    `certificate` is what ``ssl.SSLSocket.getpeercert`` gives: empty for one that nobody has verified.
    """
    names = certificate.get("subject", ()) if certificate else ()
    return ",".join("+".join(f"{SHORT.get(name, name)}={_escaped(value)}" for name, value in rdn) for rdn in reversed(names)) or None


def _escaped(value: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", value)
