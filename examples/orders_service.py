"""A FastAPI service that announces itself in Consul, and leaves before it stops.

    consul agent -dev &
    PORT=9001 python examples/orders_service.py &
    PORT=9002 python examples/orders_service.py &
    curl http://127.0.0.1:8080/api/orders/1         # through a gateway; kill either service, and nobody notices

Registration is one line of the application's own lifespan. Without one it is all of it:
`FastAPI(lifespan=register("orders", PORT).lifespan)`.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, TypedDict

import uvicorn
from fastapi import FastAPI, HTTPException, Request

from discovery import register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST, PORT = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "9001"))
DRAIN_S = 1.0
"""How long it still answers after it has left: gateways hear of it within milliseconds, other clients may look less often."""


class State(TypedDict):
    """What the application has open."""

    orders: dict[int, str]


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    """Open what requests need, then announce; leave, then close it: nobody is sent here too early or too late."""
    orders = {1: "two apples", 2: "a pear"}  # where a real one connects to its database
    async with register("orders", PORT, address=HOST, meta={"version": "1"}, drain_s=DRAIN_S).lifespan(app):
        yield {"orders": orders}


app = FastAPI(lifespan=lifespan)


@app.get("/{order_id}")
async def order(order_id: int, request: Request) -> dict[str, str | int]:
    """One order, and who answers."""
    orders: dict[int, str] = request.state.orders
    if order_id not in orders:
        raise HTTPException(404, "no such order")
    return {"order": orders[order_id], "instance": PORT}


if __name__ == "__main__":
    uvicorn.run(app, host=HOST, port=PORT, log_level="warning")
