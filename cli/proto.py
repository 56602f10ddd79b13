"""`voxmesh proto`: regenerates common/pb from proto/."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cli.fail import Trouble
from cli.paths import BIN, ROOT

OPTIONS = ("client_generation=async", "server_generation=async", "google_protobuf_descriptors")


def proto() -> None:
    """Regenerate the Python messages and services from proto/."""
    generate(ROOT / "proto", ROOT / "common" / "pb")
    print("✓ common/pb is up to date")


def generate(source: Path, target: Path) -> None:
    """Generates everything under `source` into `target`, replacing what is there.

    Raises:
        Trouble: the compiler is missing or refuses a file.
    """
    target.mkdir(parents=True, exist_ok=True)
    files = sorted(str(path) for path in source.rglob("*.proto"))
    options = [f"--python_betterproto2_opt={option}" for option in OPTIONS]
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{source}",
        f"--python_betterproto2_out={target}",
    ]
    # The compiler calls its plugin, and the plugin calls ruff, by name.
    env = {**os.environ, "PATH": os.pathsep.join((str(BIN), os.environ.get("PATH", "")))}
    # It also looks for ruff settings and packages where it runs: an empty directory has neither.
    with tempfile.TemporaryDirectory() as nowhere:
        done = subprocess.run(
            [*command, *options, *files], env=env, cwd=nowhere, capture_output=True, text=True
        )
    if done.returncode:
        raise Trouble(f"protoc failed:\n{done.stderr.strip()}", "the tools come with: ./voxmesh test")
