"""The parties of a benchmark: each starts on free ports, tells what it has used, and is stopped."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
INSTANCES = 3
READY_WITHIN_S = 20.0

# One core for the proxy that is measured, another for instances and load.
CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE, OTHER_CORE = CORES[0], CORES[-1]

NGINX = """\
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_timeout 300; keepalive_requests 100000000;
  client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy; fastcgi_temp_path {folder}/{name}-fastcgi;
  uwsgi_temp_path {folder}/{name}-uwsgi; scgi_temp_path {folder}/{name}-scgi;
{inner}
}}
"""


@dataclass
class Proxy:
    """A running program and the ports it listens on."""

    name: str
    process: subprocess.Popen[bytes]
    ports: list[int]

    def pids(self) -> list[int]:
        """The process and its children, which do the work in nginx."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *(int(pid) for pid in children)]

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        ticks = 0
        for pid in self.pids():
            # The second field, the name in brackets, may hold blanks: counting starts behind it.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self) -> int:
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids())
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_instances(folder: Path, body_bytes: int) -> Proxy:
    """One nginx that is three instances: it answers from memory."""
    ports = free_ports(INSTANCES)
    listens = " ".join(f"listen {HOST}:{port};" for port in ports)
    body = json.dumps({"ok": True, "padding": "."})
    body = body.replace(".", "." * max(1, body_bytes - len(body) + 1))
    inner = f"  server {{ {listens} location / {{ default_type application/json; return 200 '{body}'; }} }}"
    return start("instances", nginx(folder, "instances", inner), ports, OTHER_CORE, folder)


def start_nginx(folder: Path, instances: list[int]) -> Proxy:
    """As a proxy that does what any gateway has to: kept connections, forwarding headers, a request id."""
    (port,) = free_ports(1)
    servers = " ".join(f"server {HOST}:{each};" for each in instances)
    inner = f"""\
  upstream instances {{ {servers} keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen {HOST}:{port};
    location /api/bench/ {{
      proxy_pass http://instances/;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Request-Id $request_id;
    }}
  }}"""
    return start("nginx", nginx(folder, "nginx", inner), [port], PROXY_CORE, folder)


def start_gateway(folder: Path, instances: list[int], name: str = "gateway", **settings: object) -> Proxy:
    """With its default balancer and its default route; `settings` are further sections of its configuration."""
    (port,) = free_ports(1)
    config = {
        "server": {"host": HOST, "port": port},
        "discovery": {"provider": "static"},
        "services": {"bench": {"instances": [f"{HOST}:{each}" for each in instances]}},
        "auth": {"default": "none"},
        "logging": {"level": "warning", "access_log": False},
        **settings,
    }
    file = folder / f"{name}.yaml"
    file.write_text(json.dumps(config, indent=1))
    return start(name, [sys.executable, "-m", "lbgateway", "run", "--config", str(file)], [port], PROXY_CORE, folder)


def start_redis(folder: Path) -> Proxy:
    """Empty, and with nothing on disk; beside the instances."""
    (port,) = free_ports(1)
    command = ["redis-server", "--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    return start("redis", command, [port], OTHER_CORE, folder)


def nginx(folder: Path, name: str, inner: str) -> list[str]:
    file = folder / f"{name}.conf"
    file.write_text(NGINX.format(folder=folder, name=name, inner=inner))
    return ["nginx", "-c", str(file), "-e", str(folder / f"{name}.log")]


def start(name: str, command: list[str], ports: list[int], core: int, folder: Path) -> Proxy:
    """Start on one core, and wait until it listens."""
    log = folder / f"{name}.out"
    with log.open("wb") as output:
        process = subprocess.Popen(pinned(core, command), stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    proxy = Proxy(name, process, ports)
    end_s = time.monotonic() + READY_WITHIN_S
    while not all(accepts(port) for port in ports):
        if process.poll() is not None or time.monotonic() > end_s:
            if process.poll() is None:
                proxy.stop()
            sys.exit(f"{name} did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)
    return proxy


def pinned(core: int, command: list[str]) -> list[str]:
    """`command`, and all that it starts, on one core; taskset is replaced by it, so that the pid is the program's."""
    return ["taskset", "-c", str(core), *command] if shutil.which("taskset") else command


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
