"""What moves, shines and sees, behind small protocols."""

import os

# pymmcore-plus reads these when it is imported: signals without Qt, and no log outside the run folder.
os.environ.setdefault("PYMM_SIGNALS_BACKEND", "psygnal")
os.environ.setdefault("PYMM_LOG_FILE", "0")
