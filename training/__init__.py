"""From one snapshot to one bundle. May import inference, never the reverse. Never imports Django."""

import os

# Threads that wait for one another by spinning take the cores from whoever they wait for; read by OpenMP when torch is first loaded
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
