"""SRV records to instances (RFC 2782). Pure.

DNS tells less than a registry: no ids, tags, states or reasons, only who may be asked. So an
instance's identity is its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from discovery.errors import Denied, MalformedAnswer, ServerFailed
from discovery.instance import Instance, InstanceKey, InstanceState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROVIDER: Final = "dns"
PAYLOAD_BYTES: Final = 4096
"""EDNS: with the 512 bytes of plain DNS, Consul answers with three of eleven instances."""
TRIMMED_FROM: Final = 16
"""More answers than this over UDP may be only those that fitted: Consul trims without saying so (``enable_truncate`` is off)."""
SHORTEST_S, LONGEST_S = 1.0, 60.0
BACKUP: Final = "of SRV priority {}: picked when no instance of priority {} is left"


@dataclass(frozen=True, slots=True)
class Record:
    """One SRV record; ``target`` in lower case, without its last dot."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Service:
    """What one answer says: records, the addresses that came with it (IPv4 first), and the shortest TTL."""

    records: tuple[Record, ...]
    addresses: Mapping[str, tuple[str, ...]]
    ttl_s: float

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Targets whose address has to be asked for."""
        return tuple(sorted({record.target for record in self.records} - self.addresses.keys()))


def question(name: str, kind: str = "SRV") -> dns.message.QueryMessage:
    """A query for `name`, which needs no last dot."""
    return dns.message.make_query(name, kind, use_edns=0, payload=PAYLOAD_BYTES)


def check(answer: dns.message.Message) -> None:
    """Refuse what tells nothing. NXDOMAIN does tell something: there is nobody.

    Raises:
        ServerFailed: the server could not find out.
        Denied: it does not want to say.
        MalformedAnswer: any other code.

    """
    code = answer.rcode()
    if code in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return
    text = f"the nameserver answers {dns.rcode.to_text(code)}"
    if code == dns.rcode.SERVFAIL:
        raise ServerFailed(text)
    raise Denied(text) if code == dns.rcode.REFUSED else MalformedAnswer(text)


def service_of(answer: dns.message.Message) -> Service:
    """The SRV records of an answer that passed `check`, with the addresses beside them."""
    records = set()
    for rrset in answer.answer:
        if rrset.rdtype == dns.rdatatype.SRV:
            records |= {Record(r.priority, r.weight, r.port, name_of(r.target)) for r in rrset if r.port and name_of(r.target)}
    ttls = [float(rrset.ttl) for rrset in answer.answer]
    ordered = tuple(sorted(records, key=lambda r: (r.priority, r.target, r.port, r.weight)))
    beside: dict[str, list[dns.rrset.RRset]] = {}
    for rrset in answer.additional:
        beside.setdefault(name_of(rrset.name), []).append(rrset)
    addresses = {name: found for name, rrsets in beside.items() if (found := addresses_in(rrsets))}
    return Service(ordered, addresses, min(ttls, default=0.0))


def addresses_in(rrsets: Iterable[dns.rrset.RRset]) -> tuple[str, ...]:
    """All A and AAAA records, IPv4 first, whatever name they are for: an alias gives its own to the name that was asked for."""
    found = {str(record.address) for rrset in rrsets if rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA) for record in rrset}
    return tuple(sorted(found, key=lambda each: (":" in each, each)))


def instances_of(name: str, service: Service, addresses: Mapping[str, tuple[str, ...]]) -> tuple[Instance, ...]:
    """The records as instances, sorted by key; one whose target has no address is left out.

    The lowest priority is served. Higher numbers are for when none of those is left, and are SUSPECT, which is picked
    last. Weight 0 ("hardly ever") is 1 here, where 0 would mean never.
    """
    first = min((record.priority for record in service.records), default=0)
    found: dict[InstanceKey, Instance] = {}
    for record in service.records:
        for address in addresses.get(record.target, ())[:1]:
            place = f"[{address}]:{record.port}" if ":" in address else f"{address}:{record.port}"
            key = InstanceKey(PROVIDER, "", "", record.target, place)
            backup = record.priority > first
            instance = Instance(
                key=key,
                service=name,
                address=address,
                port=record.port,
                weight=max(1, record.weight),
                state=InstanceState.SUSPECT if backup else InstanceState.PASSING,
                reason=BACKUP.format(record.priority, first) if backup else None,
                meta={"priority": str(record.priority)},
            )
            found.setdefault(key, instance)  # the same place twice: its best priority counts
    return tuple(found[key] for key in sorted(found))


def pause_s(ttl_s: float, interval_s: float) -> float:
    """When to ask again: after the TTL, within reason; after `interval_s` where there is none, as in Consul."""
    return min(LONGEST_S, max(SHORTEST_S, ttl_s)) if ttl_s > 0 else interval_s


def name_of(name: object) -> str:
    """A name as text: lower case, without its last dot."""
    return str(name).rstrip(".").lower()
