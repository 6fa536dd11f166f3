"""Addresses of a Redis."""

import pytest

from lbgateway.config.store_address import parse_store


@pytest.mark.parametrize(
    ("url", "kind", "hosts", "db", "master"),
    [
        ("redis://127.0.0.1", "single", (("127.0.0.1", 6379),), 0, ""),
        ("redis://h:1234/2", "single", (("h", 1234),), 2, ""),
        ("rediss://u:p@h/0", "single", (("h", 6379),), 0, ""),
        ("redis://[::1]:7", "single", (("::1", 7),), 0, ""),
        ("redis+sentinel://h1:26379,h2:26379/mymaster/0", "sentinel", (("h1", 26379), ("h2", 26379)), 0, "mymaster"),
        ("redis+sentinel://h1,h2:5/mymaster", "sentinel", (("h1", 26379), ("h2", 5)), 0, "mymaster"),
        ("redis+sentinel://h1/m/3", "sentinel", (("h1", 26379),), 3, "m"),
        ("redis+cluster://h1:6379,h2:6379", "cluster", (("h1", 6379), ("h2", 6379)), 0, ""),
        ("redis+cluster://h1/", "cluster", (("h1", 6379),), 0, ""),
    ],
)
def test_the_four_kinds_are_read(url, kind, hosts, db, master):
    """As the contract spells them, with the usual ports."""
    found = parse_store(url)
    assert (found.kind, found.hosts, found.db, found.master) == (kind, hosts, db, master)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memcached://h", "must be an address beginning with redis://"),
        ("redis://", "no host:port"),
        ("redis://h:x", "no host:port"),
        ("redis://h:0", "no host:port"),
        ("redis://a,b", "one server has one host"),
        ("redis://h/zero", "ends with the number of a database"),
        ("redis://h/0/1", "ends with the number of a database"),
        ("redis+sentinel://h1", "names no master"),
        ("redis+sentinel://h1/m/x", "ends with the number of a database"),
        ("redis+cluster://h1/1", "a cluster has one database only"),
        ("redis+cluster://h1?ssl_ca_certs=/ca.pem", "takes no settings after"),
        ("redis+sentinel://h1/m/0?ssl=true", "takes no settings after"),
    ],
)
def test_a_mistake_is_told_with_advice(url, said):
    """Before the gateway starts."""
    with pytest.raises(ValueError, match=said):
        parse_store(url)


def test_a_password_is_read_and_never_shown():
    """Escapes stand for characters that an address cannot hold."""
    found = parse_store("redis+cluster://ann:s%40fe@h1,h2")
    assert (found.username, found.password) == ("ann", "s@fe")
    assert repr(found) == "<StoreAddress cluster h1:6379,h2:6379>"


@pytest.mark.parametrize("password", ["s3cret/x", "s3#cret", "s3?cret", "s3cret[", "s3cret]", "s3cret/x@h", "s3cret\u2100"])
@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel", "redis+cluster"])
def test_advice_repeats_no_part_of_a_password(scheme, password):
    """One that should have been encoded is read as the host, or as the path."""
    with pytest.raises(ValueError, match=r"%2F|ends with|one database") as refused:
        parse_store(f"{scheme}://:{password}@h1/mymaster/0/x")
    assert "s3" not in str(refused.value)
