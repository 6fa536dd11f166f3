"""A Consul-compatible registry for development: in memory, on a loopback address, in the caller's event loop."""

from discovery.embedded.registry import EmbeddedRegistry
from discovery.embedded.saved_state import Unusable

__all__ = ["EmbeddedRegistry", "Unusable"]
