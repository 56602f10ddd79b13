"""npm packages that tests need: installed once into the cache directory, the versions that the lock file names."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import platformdirs
import pytest
from filelock import FileLock

INSTALL_WITHIN_S = 180
CACHE = platformdirs.user_cache_path("voxmesh") / "test-npm"
INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error")


def node() -> str:
    """The program Node.js. Skips the test where it is not installed."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        pytest.skip(f"{'npm' if found else 'node'} is not installed")
    return found


def installed(folder: Path) -> Path:
    """A directory with the node_modules of the package.json in `folder`.

    Skips the test where they cannot be had: without Node, without npm, or when no registry answers.
    """
    node()
    wanted = [folder / "package.json", folder / "package-lock.json"]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in wanted)).hexdigest()
    directory = CACHE / f"{folder.name}-{digest[:12]}"
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / ".lock"):
        if not (directory / ".installed").exists():
            for file in wanted:
                shutil.copy(file, directory)
            try:
                done = subprocess.run(
                    ["npm", *INSTALL], cwd=directory, capture_output=True, text=True, timeout=INSTALL_WITHIN_S
                )
            except subprocess.TimeoutExpired:
                pytest.skip(f"npm did not install tests/{folder.name}/package.json in {INSTALL_WITHIN_S} s")
            if done.returncode:
                said = done.stderr.strip()[-300:]
                pytest.skip(f"npm could not install tests/{folder.name}/package.json: {said}")
            (directory / ".installed").touch()
    return directory
