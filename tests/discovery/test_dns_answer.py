"""From the text of DNS messages to instances."""

from __future__ import annotations

import dns.message
import dns.rcode
import pytest

from discovery.dns_answer import addresses_in, check, instances_of, pause_s, question, service_of
from discovery.errors import Denied, MalformedAnswer, ServerFailed


def message(answer: str = "", additional: str = "", rcode: str = "NOERROR") -> dns.message.Message:
    """Lines of a zone file; the question is of no importance."""
    return dns.message.from_text(f"id 1\nopcode QUERY\nrcode {rcode}\nflags QR\n;QUESTION\n;ANSWER\n{answer}\n;ADDITIONAL\n{additional}\n")


def shown(answer: str, additional: str = "") -> list[str]:
    """The instances, in short."""
    service = service_of(message(answer, additional))
    return [f"{i.key.node} {i.id} w{i.weight} {i.state}" for i in instances_of("orders", service, service.addresses)]


def test_consuls_answer_is_read_whole() -> None:
    """Addresses come with it; weights are kept, names lose case and last dot."""
    name = "orders.service.consul."
    answer = f"{name} 0 IN SRV 1 7 9001 N1.node.dc1.consul.\n{name} 0 IN SRV 1 1 9002 7f000002.addr.dc1.consul."
    beside = 'n1.node.dc1.consul. 0 IN A 10.0.0.1\nn1.node.dc1.consul. 0 IN TXT "x"\n7f000002.addr.dc1.consul. 0 IN A 127.0.0.2'

    assert shown(answer, beside) == [
        "7f000002.addr.dc1.consul 127.0.0.2:9002 w1 passing",
        "n1.node.dc1.consul 10.0.0.1:9001 w7 passing",
    ]


def test_higher_priorities_wait_for_their_turn() -> None:
    """Served last, and said why."""
    service = service_of(message("o. 30 IN SRV 20 1 9002 b.\no. 60 IN SRV 10 1 9001 a.", "a. 1 IN A 10.0.0.1\nb. 1 IN A 10.0.0.2"))
    first, second = instances_of("orders", service, service.addresses)

    assert (first.state, first.reason, first.meta) == ("passing", None, {"priority": "10"})
    assert (second.state, second.reason) == ("suspect", "of SRV priority 20: picked when no instance of priority 10 is left")
    assert service.ttl_s == 30.0


@pytest.mark.parametrize(
    ("answer", "additional", "instances"),
    [
        ("", "", []),
        ("o. 1 IN SRV 1 0 9001 a.", "a. 1 IN A 10.0.0.1", ["a 10.0.0.1:9001 w1 passing"]),
        ("o. 1 IN SRV 1 1 9001 a.", "a. 1 IN AAAA ::1\na. 1 IN A 10.0.0.1", ["a 10.0.0.1:9001 w1 passing"]),
        ("o. 1 IN SRV 1 1 9001 a.", "a. 1 IN AAAA ::1", ["a [::1]:9001 w1 passing"]),
        ("o. 1 IN SRV 1 1 9001 a.\no. 1 IN SRV 2 5 9001 a.", "a. 1 IN A 10.0.0.1", ["a 10.0.0.1:9001 w1 passing"]),
        ("o. 1 IN SRV 1 1 9001 a.", "", []),
        ("o. 1 IN SRV 1 1 0 a.", "a. 1 IN A 10.0.0.1", []),
        ("o. 1 IN SRV 0 0 0 .", "", []),
        ("o. 1 IN A 10.0.0.1", "", []),
    ],
)
def test_odd_answers(answer: str, additional: str, instances: list[str]) -> None:
    """Nobody, weight 0, both families, one place twice, no address, no port, "there is no such service", no SRV at all."""
    assert shown(answer, additional) == instances


def test_what_has_no_address_has_to_be_asked_for() -> None:
    """Each target once."""
    service = service_of(message("o. 1 IN SRV 1 1 9001 a.\no. 1 IN SRV 1 1 9002 a.\no. 1 IN SRV 1 1 9003 b.", "b. 1 IN A 10.0.0.2"))

    assert service.unresolved == ("a",)


def test_an_alias_gives_its_address() -> None:
    """To the name that was asked for."""
    answer = message("a. 1 IN CNAME c.\nc. 1 IN AAAA ::1\nc. 1 IN A 10.0.0.3\nc. 1 IN A 10.0.0.1").answer

    assert addresses_in(answer) == ("10.0.0.1", "10.0.0.3", "::1")


@pytest.mark.parametrize(
    ("rcode", "error"), [("SERVFAIL", ServerFailed), ("REFUSED", Denied), ("FORMERR", MalformedAnswer), ("NOTIMP", MalformedAnswer)]
)
def test_codes_that_tell_nothing(rcode: str, error: type[Exception]) -> None:
    """They are failures, not empty answers."""
    with pytest.raises(error, match=f"the nameserver answers {rcode}"):
        check(message(rcode=rcode))


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
def test_codes_that_tell_something(rcode: str) -> None:
    """A name that does not exist has nobody behind it."""
    check(message(rcode=rcode))


def test_a_question_asks_for_room() -> None:
    """4096 bytes by EDNS."""
    asked = question("orders.service.consul")

    assert (asked.edns, asked.payload, str(asked.question[0])) == (0, 4096, "orders.service.consul. IN SRV")


@pytest.mark.parametrize(("ttl_s", "pause"), [(0, 5.0), (0.5, 1.0), (1, 1.0), (30, 30.0), (3600, 60.0)])
def test_pauses_follow_the_ttl_within_reason(ttl_s: float, pause: float) -> None:
    """Consul says 0, which means the interval."""
    assert pause_s(ttl_s, 5.0) == pause
