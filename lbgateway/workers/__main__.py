"""``python -m lbgateway.workers DESCRIPTOR INDEX``: how the parent starts a worker; of no use to anybody else."""

import sys

from lbgateway.workers.worker import main

main(int(sys.argv[1]), int(sys.argv[2]))
