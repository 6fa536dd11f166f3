"""One service's life through a Python client library, as a script: python-consul2 or py-consul, whichever is installed.

Prints what the library said at each step, as JSON.
"""

from __future__ import annotations

import json
import sys
import warnings

warnings.simplefilter("ignore")  # both libraries warn of their own insides

import consul  # noqa: E402 after its warnings are off


def life(host: str, port: int, service: str) -> dict[str, object]:
    client = consul.Consul(host=host, port=port)
    told: dict[str, object] = {}

    def states() -> list[list[str]]:
        _index, entries = client.health.service(service)
        return [[entry["Service"]["ID"], *(check["Status"] for check in entry["Checks"])] for entry in entries]

    told["registered"] = client.agent.service.register(
        service, service_id=f"{service}-1", address="127.0.0.1", port=9001, tags=["a"], check=consul.Check.ttl("10s")
    )
    told["at first"] = states()
    told["heartbeat"] = client.agent.check.ttl_pass(f"service:{service}-1", "fine")
    told["alive"] = states()
    index, passing = client.health.service(service, passing=True)
    told["passing"] = [[entry["Service"]["Address"], entry["Service"]["Port"], entry["Service"]["Tags"]] for entry in passing]
    told["index is a number"] = int(index) > 0
    told["wait"] = client.health.service(service, index=index, wait="100ms")[0] == index
    told["maintained"] = client.agent.service.maintenance(f"{service}-1", "true", "why")
    told["in maintenance"] = states()
    client.agent.service.maintenance(f"{service}-1", "false")
    told["failed"] = client.agent.check.ttl_fail(f"service:{service}-1")
    told["listed"] = f"{service}-1" in client.agent.services() and service in client.catalog.services()[1]
    told["stored"] = client.kv.put(f"{service}/key", "value")
    told["read"] = client.kv.get(f"{service}/key")[1]["Value"].decode()
    told["created twice"] = client.kv.put(f"{service}/key", "other", cas=0)
    told["keys"] = client.kv.get(f"{service}/", keys=True)[1]
    told["deleted"] = client.kv.delete(f"{service}/", recurse=True)
    told["gone"] = client.kv.get(f"{service}/key")[1] is None
    told["deregistered"] = client.agent.service.deregister(f"{service}-1")
    told["at last"] = states()
    try:
        client.agent.check.ttl_pass(f"service:{service}-1")
    except consul.ConsulException as error:
        told["heartbeat of nobody"] = str(error)
    return told


if __name__ == "__main__":
    print(json.dumps(life(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
