"""What is kept of a run that was not well, so that each request that was lost can be explained.

In one folder: ``gateway.log.gz`` (all that the gateway wrote, its access log included), ``events.jsonl`` (each change of state of an
instance, of a breaker, of the registry), ``faults.jsonl`` (what was done to whom, and when), ``lost.jsonl`` (each request that was lost:
what its client saw, the gateway's own line of it, what was going on, and which instances were not ready by then), ``census.json`` (how many
objects of each class there were at rest, before and after).
"""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from tests.support.gateway_process import GatewayProcess

BEFORE_S = 10.0
"""What ended so long before a request was lost may still be felt."""

Record = dict[str, Any]


class Evidence:
    """Hears the gateway's events as long as the ``with`` lasts; `write` puts all into the folder, and so does an exception.

    `faults`: as they are noted meanwhile (`faults.Faults.diary`); `lost`: what clients say, once they have; `census`: what the
    gateway holds, by the time at which it was looked at.
    """

    def __init__(self, folder: Path, gateway: GatewayProcess, faults: list[Record]) -> None:
        self.folder = folder
        self.gateway = gateway
        self.faults = faults
        self.lost: list[Record] = []
        self.census: dict[str, dict[str, int]] = {}
        self.events: list[Record] = []
        self._socket = socket.socket()
        self._thread = threading.Thread(target=self._hear, daemon=True)
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self._socket.connect(("127.0.0.1", self.gateway.port))
        self._socket.sendall(b"GET /admin/events HTTP/1.1\r\nHost: gateway.example\r\n\r\n")
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.write()
        with contextlib.suppress(OSError):  # the gateway may have ended it
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)

    def write(self) -> list[Record]:
        """Returns the lost requests with what is known of each."""
        log = self.gateway.folder / "log"
        with log.open("rb") as source, gzip.open(self.folder / "gateway.log.gz", "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target)
        (self.folder / "census.json").write_text(json.dumps(self.census))
        for name, records in (("events", self.events), ("faults", self.faults), ("lost", self.lost)):
            self._keep(name, records)
        # Only now, when nothing of it can be lost any more.
        with log.open(errors="replace") as lines:
            explained = explain(self.lost, lines, self.events, self.faults)
        self._keep("lost", explained)
        return explained

    def _keep(self, name: str, records: list[Record]) -> None:
        (self.folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))

    def _hear(self) -> None:
        """Until the gateway ends: ``event:`` and ``data:`` of each event."""
        kind = ""
        with self._socket, self._socket.makefile(encoding="utf-8", errors="replace") as lines, contextlib.suppress(OSError):
            for line in lines:
                name, _, value = line.rstrip("\r\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    self.events.append(event_of(kind, value))


def event_of(kind: str, data: str) -> Record:
    """Its moment in seconds since 1970, as everywhere here."""
    event: Record = json.loads(data)
    return {**event, "event": kind, "at": datetime.fromisoformat(event["at"]).timestamp()}


def explain(lost: list[Record], log: Iterable[str], events: list[Record], faults: list[Record]) -> list[Record]:
    """Each lost request with the gateway's line of it (found by the path, which is its own), and what was going on."""
    paths: dict[str, Record] = {record["path"]: {} for record in lost if record["path"]}
    for line in log:
        if line.startswith("{") and '"request_id":' in line:
            access = json.loads(line)
            if access.get("path") in paths:
                paths[access["path"]] = access
    return [
        {
            **record,
            "access": (access := paths.get(record["path"], {})),
            "not_ready": not_ready(events, access.get("service"), record["at"]),
            "faults": going_on(faults, record["at"]),
        }
        for record in lost
    ]


def grouped(explained: list[Record]) -> list[str]:
    """A line for each kind of loss, the most frequent first."""
    return [f"{count} times {line}" for line, count in Counter(map(_line, explained)).most_common()]


def _line(record: Record) -> str:
    access = record["access"]
    if not access:
        return f"{record['kind']} {record['ending']}, and the gateway has no line of it"
    during = ", ".join(sorted({fault.partition(": for ")[0] for fault in record["faults"]}))
    error = f"{access['error'] or 'an answer'} of {access['service']} after {access['attempts']} attempts"
    return f"{record['kind']} {record['ending']}: {error}, {len(record['not_ready'])} not ready, during {during or 'nothing'}"


def not_ready(events: list[Record], service: str | None, at: float) -> dict[str, str]:
    """The instances of `service` that were in another state than ready by then, and in which."""
    states = {}
    for event in events:
        if event["at"] <= at and event.get("service") == service and "instance" in event and "to" in event:
            states[event["instance"]] = f"{event['to']}: {event['reason']}"
    return {instance: state for instance, state in states.items() if not state.startswith(("ready", "gone"))}


def going_on(faults: list[Record], at: float) -> list[str]:
    """What had begun by then and not ended long before: with the seconds from its beginning and, if it was over, its end."""
    found = []
    for fault in faults:
        if fault["from"] <= at <= fault["until"] + BEFORE_S:
            over = f", over for {at - fault['until']:.1f} s" if at > fault["until"] else ""
            found.append(f"{fault['name']} {fault['whom']}: for {at - fault['from']:.1f} s{over}")
    return found
