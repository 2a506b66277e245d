"""The local voice engine: features, acoustic model, vocoder, training, synthesis.

Takes of one person go in, that person's voice comes out, at 44.1 kHz. No Django here.
"""

import os

# OpenMP's threads spin while they wait. On cores shared with anything else (a browser,
# a second worker) that costs ten times the speed: 0.4 against 4.3 training steps a
# second with one other process on the same two cores. Read when torch is first loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
