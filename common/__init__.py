"""What every service shares. Imports nothing of any service."""

import os

# The C core tells at INFO about every connection that ends; only what it thinks is an error is of interest.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
