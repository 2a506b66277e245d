"""Live microphone, replayed recording or synthetic voice: a small CNN and its data."""

import os

# Idle OpenMP threads that spin slow down everything else on the same cores by as much
# as ten times. Read when torch is first loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
