"""A Chromium for tests, and playwright-core to drive it; both come from npm, so that every machine tests with the same.

CHROMIUM=/path/to/program picks another one. Where the one from npm does not run, one of the machine's own is taken.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tests import npm

HERE = Path(__file__).parent
OWN = ("chromium", "chromium-browser", "google-chrome")
START_WITHIN_S = 60
NOTHING: dict[str, str] = {}
# The package unpacks the libraries it needs only where it believes itself on a host without any.
BARE_HOST = {"AWS_EXECUTION_ENV": "nodejs20.x"}


@dataclass(frozen=True, slots=True)
class Browser:
    """What playground.mjs needs to start one.

    Attributes:
        environment: what the browser wants set, beside what this process has.
    """

    node: str
    playwright: str
    chromium: str
    environment: dict[str, str]


def find_browser() -> Browser:
    """A browser that starts. Skips the test where none can be had."""
    node, modules = npm.node(), npm.installed(HERE)
    libraries = {"LD_LIBRARY_PATH": str(modules / "browser" / "al2023" / "lib")}
    given, unpacked = os.environ.get("CHROMIUM"), str(modules / "browser" / "chromium")
    if given is None:
        _unpack(node, modules)
    own = [(found, NOTHING) for name in OWN if (found := shutil.which(name))]
    candidates = [(given, NOTHING)] if given else [(unpacked, libraries), *own]
    for program, environment in candidates:
        if _starts(program, environment):
            return Browser(node, str(modules / "node_modules" / "playwright-core"), program, environment)
    pytest.skip(f"no Chromium starts here; tried {', '.join(program for program, _ in candidates)}")


def _unpack(node: str, modules: Path) -> None:
    """Puts the program from npm and its libraries below `browser`; where that fails nothing starts there."""
    script = 'import("@sparticuz/chromium").then((found) => found.default.executablePath())'
    place = modules / "browser"
    with FileLock(modules / ".lock"):
        if not (place / ".unpacked").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            environment = {**os.environ, **BARE_HOST, "TMPDIR": str(place)}
            done = subprocess.run([node, "-e", script], cwd=modules, env=environment, capture_output=True)
            if done.returncode == 0:
                (place / ".unpacked").touch()


def _starts(program: str, environment: dict[str, str]) -> bool:
    try:
        answer = subprocess.run(
            [program, "--version"],
            env={**os.environ, **environment},
            capture_output=True,
            timeout=START_WITHIN_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0
