"""Talks to nameservers: UDP with EDNS, TCP where UDP may not have told everything, the next server where one fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import dns.asyncquery
import dns.exception
import dns.message

from discovery.dns_answer import TRIMMED_FROM, addresses_in, check, question, service_of
from discovery.errors import DiscoveryError, MalformedAnswer, ReadTimedOut, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from discovery.dns_answer import Service

    Server = tuple[str, int]
    Ask = Callable[[Server, dns.message.QueryMessage], Awaitable[dns.message.Message]]

TIMEOUT_S: Final = 2.0
AT_ONCE: Final = 8


async def over_the_wire(server: Server, query: dns.message.QueryMessage) -> dns.message.Message:
    """One answer of one server, whole.

    Raises:
        DiscoveryError: there is none.

    """
    host, port = server
    try:
        answer, used_tcp = await dns.asyncquery.udp_with_fallback(query, host, port=port, timeout=TIMEOUT_S)
        if not used_tcp and sum(map(len, answer.answer)) > TRIMMED_FROM:
            answer = await dns.asyncquery.tcp(query, host, port=port, timeout=TIMEOUT_S)
    except dns.exception.Timeout:
        raise ReadTimedOut(f"the nameserver {host}:{port} does not answer") from None
    except dns.exception.DNSException as error:
        raise MalformedAnswer(f"the nameserver {host}:{port} answers nonsense: {error}") from error
    except (OSError, EOFError) as error:
        raise Unreachable(f"the nameserver {host}:{port} cannot be reached: {error}") from error
    return answer


class DnsClient:
    """Asks one of `servers` (address, port), for as long as it answers; after a failure the next one."""

    def __init__(self, servers: Sequence[Server], ask: Ask = over_the_wire) -> None:
        self._servers = list(servers)
        self._ask = ask
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def service(self, name: str) -> tuple[Service, dict[str, tuple[str, ...]]]:
        """SRV records of `name`, and the addresses of all their targets that have one.

        Raises:
            DiscoveryError: that of the last server, if none could tell.

        """
        found = service_of(await self.query(name, "SRV"))
        addresses = dict(found.addresses)
        for kind in ("A", "AAAA"):
            missing = [target for target in found.unresolved if target not in addresses]
            answers = await asyncio.gather(*(self._one_of_many(target, kind) for target in missing))
            addresses |= {target: told for target, answer in zip(missing, answers, strict=True) if (told := addresses_in(answer.answer))}
        return found, addresses

    async def _one_of_many(self, name: str, kind: str) -> dns.message.Message:
        async with self._slots:
            return await self.query(name, kind)

    async def query(self, name: str, kind: str) -> dns.message.Message:
        """The answer of the first server that has one."""
        failure: DiscoveryError | None = None
        for server in tuple(self._servers):
            try:
                answer = await self._ask(server, question(name, kind))
                check(answer)
            except DiscoveryError as error:
                failure = error
                if self._servers[0] == server:
                    self._servers.append(self._servers.pop(0))
            else:
                return answer
        raise failure or Unreachable("there is no nameserver")
