"""From one image to one Analysis. Never imports Django; imports torch only where a model runs."""

import os

# Threads that wait for one another by spinning take the cores from whoever they wait for; read by OpenMP when torch is first loaded
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
