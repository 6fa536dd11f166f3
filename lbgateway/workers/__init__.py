"""One gateway in several processes: a parent that knows, and workers that serve.

The parent (`parent`) owns what there has to be one of: discovery, health checks, operators' orders, configuration, the port and
its handing over. Workers (`worker`) are whole data planes that are told all of it over a socket pair (`link`, `frames`), and tell
what they count and decide. What must be known with every request lies in shared memory (`board`).
"""
