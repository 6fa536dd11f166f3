"""The subject of a client's certificate: a table of what ``getpeercert`` gives."""

from __future__ import annotations

from typing import Any

import pytest

from lbgateway.dataplane.client_certificate import subject_of


def certificate(*names: tuple[str, str]) -> dict[str, Any]:
    """As Python shows it: from the root of the name to its leaf, each part a set of one."""
    return {"subject": tuple((name,) for name in names), "version": 3}


@pytest.mark.parametrize(
    ("shown", "subject"),
    [
        (None, None),
        ({}, None),
        ({"subject": ()}, None),
        (certificate(("commonName", "billing")), "CN=billing"),
        (certificate(("countryName", "DE"), ("organizationName", "Shop"), ("commonName", "billing")), "CN=billing,O=Shop,C=DE"),
        (certificate(("domainComponent", "example"), ("userId", "7")), "UID=7,DC=example"),
        (certificate(("serialNumber", "42")), "serialNumber=42"),
        (certificate(("organizationName", "Shop, Inc."), ("commonName", "a+b")), "CN=a\\+b,O=Shop\\, Inc."),
        (certificate(("commonName", " x ")), "CN=\\ x\\ "),
        (certificate(("commonName", 'a\\"b')), 'CN=a\\\\\\"b'),
        ({"subject": ((("commonName", "a"), ("userId", "7")),)}, "CN=a+UID=7"),
    ],
)
def test_a_subject_is_written_as_directories_write_it(shown: dict[str, Any] | None, subject: str | None):
    """RFC 4514: the most specific part first, separators escaped; nothing for a certificate that nobody has verified."""
    assert subject_of(shown) == subject
