"""The machine and its data road."""

import os

# matrix products here are small: threads of their own cost them more than they give, and take the cores from the stage
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
