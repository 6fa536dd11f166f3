"""A service-discovery-aware load-balancing API gateway."""

__version__ = "0.1.0"
