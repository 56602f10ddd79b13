"""`voxmesh key`: prints the licence key of this installation."""

from pathlib import Path
from typing import Annotated

import typer

from cli import paths
from cli.fail import Trouble
from common.state import read_license_key


def key(
    state: Annotated[Path | None, typer.Option("--state-dir", help="State directory of the mesh.")] = None,
) -> None:
    """Print the key that clients of this installation send."""
    found = read_license_key(paths.state_dir(state))
    if found is None:
        raise Trouble("this installation has no key yet", "the first ./voxmesh up makes one")
    print(found)
