"""A Consul-compatible registry for development: in memory, on a loopback address, in the caller's event loop."""

from discovery.embedded.registry import EmbeddedRegistry

__all__ = ["EmbeddedRegistry"]
