"""``lbgateway drain``, ``undrain``, ``eject``, ``uneject`` and ``weight``: what an operator orders of one instance."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lbgateway.cli.admin_client import FINE, WRONG_USAGE, AdminError, access_of, fetch
from lbgateway.cli.admin_tables import clean
from lbgateway.controlplane.actions import MOST_WEIGHT

if TYPE_CHECKING:
    from argparse import Namespace

    import httpx

DEFAULT_WEIGHT = "default"
"""What stands for the registry's weight on the command line."""


def act(args: Namespace, *, transport: httpx.BaseTransport | None = None) -> int:
    """Do ``command`` to ``instance`` of ``service`` and show what has become of it. Returns the exit code."""
    path = f"/admin/upstreams/{quote(args.service, safe='')}/{quote(args.instance, safe='/:')}/{args.command}"
    try:
        instance = fetch(path, access_of(args), transport=transport, send=body_of(args))
    except AdminError as error:
        print(f"lbgateway: {clean(error)}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(instance, indent=2, ensure_ascii=False) if args.json else outcome(args.service, instance))
    return FINE


def body_of(args: Namespace) -> dict[str, Any]:
    """What the command sends."""
    if args.command == "weight":
        return {"weight": None if args.weight == DEFAULT_WEIGHT else _number(args.weight)}
    return {"for": args.for_} if args.command == "eject" and args.for_ else {}


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= MOST_WEIGHT:
        return int(text)
    right = f"a whole number from 0 to {MOST_WEIGHT}, or `{DEFAULT_WEIGHT}` for the registry's own"
    raise AdminError(f'"{text}" is no weight: {right}', WRONG_USAGE)


def outcome(service: str, instance: dict[str, Any]) -> str:
    """One line: the state, why, and what is still to wait for."""
    name = ":".join(clean(part) for part in (instance.get("node"), instance.get("id")) if part)
    reason = f" ({clean(instance['reason'])})" if instance.get("reason") else ""
    line = f"{clean(service)}: {name} is {clean(instance.get('state'))}{reason}, weight {instance.get('weight', 0):g}"
    active = instance.get("active_requests")
    return f"{line}; {active} request{'s' if active != 1 else ''} still running" if active else line
