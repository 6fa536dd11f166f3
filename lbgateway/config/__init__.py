"""Typed settings: the only reader of the configuration file and of the environment.

`load` gives `Settings` or raises `ConfigErrors`, which lists every error at once.
"""

from lbgateway.config.environment import Override
from lbgateway.config.errors import ConfigErrors, Finding
from lbgateway.config.loader import load, load_text
from lbgateway.config.route import RouteSettings
from lbgateway.config.secret import Secret
from lbgateway.config.service import InstanceSettings, RetrySettings, ServiceSettings, TimeoutSettings
from lbgateway.config.settings import Settings

__all__ = [
    "ConfigErrors",
    "Finding",
    "InstanceSettings",
    "Override",
    "RetrySettings",
    "RouteSettings",
    "Secret",
    "ServiceSettings",
    "Settings",
    "TimeoutSettings",
    "load",
    "load_text",
]
