"""``python -m lbgateway.workers DESCRIPTOR INDEX``: how the parent starts a worker; of no use to anybody else."""

import gc
import sys

gc.disable()  # what is loaded stays: looking for garbage in it is a tenth of a start
from lbgateway.workers.worker import main  # noqa: E402 as said

gc.enable()
main(int(sys.argv[1]), int(sys.argv[2]))
