"""``lbgateway config schema``: the JSON Schema of the configuration file, for editors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lbgateway.cli import FINE
from lbgateway.config.schema import schema

if TYPE_CHECKING:
    from argparse import Namespace


def main(_args: Namespace) -> int:
    """Print it."""
    print(json.dumps(schema(), indent=2, ensure_ascii=False))
    return FINE
