"""``lbgateway config schema``."""

import json

from lbgateway.cli import FINE, main
from lbgateway.config.schema import schema


def test_the_schema_is_printed(capsys):
    """And nothing else, so that it can be sent into a file."""
    assert main(["config", "schema"]) == FINE
    assert json.loads(capsys.readouterr().out) == schema()
