"""Voice models: torch code and the readers of their files."""

import os

# torch's OpenMP workers spin while they wait, unless told otherwise before torch is loaded. With more runnable threads
# than cores, as beside a recogniser on a small machine, spinning made synthesis ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
