"""The control plane over real HTTP, in front of a gateway of the test's own, which can be put into any state at once."""

from __future__ import annotations

import threading
from typing import Self

import uvicorn

from lbgateway.controlplane.admin_auth import AdminAccess
from lbgateway.controlplane.app import ControlPlaneSettings, build_app
from tests.support.fake_gateway import FakeGateway
from tests.support.launch import accepts, free_ports, wait_until

TOKEN = "open-sesame"


class ControlPlane:
    """Serves the page and the API of `gateway`; after `stop`, `start` has the same address again."""

    def __init__(self, gateway: FakeGateway, access: AdminAccess | None = None) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}/admin"
        self.app = build_app(gateway, ControlPlaneSettings(admin=access or AdminAccess(token=TOKEN)))
        self._server: uvicorn.Server
        self._thread: threading.Thread

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        config = uvicorn.Config(self.app, port=self.port, log_level="error", timeout_graceful_shutdown=1, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="control plane", daemon=True)
        self._thread.start()
        wait_until(lambda: accepts(self.port), 10, lambda: "the control plane does not listen")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
