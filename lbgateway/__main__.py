"""``python -m lbgateway``, the same as the command ``lbgateway``."""

from __future__ import annotations

import sys

from lbgateway.cli import main

if __name__ == "__main__":
    sys.exit(main())
