"""What the README tells people to type, typed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.e2e.running import RunningMesh
from tests.e2e.speech import CLIP_TEXT

README = (REPOSITORY / "README.md").read_text()
SHOWN = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line for block in SHOWN for line in block.replace("\\\n", " ").splitlines()]
# What it shows with an address that readers replace cannot work here.
CURLS = [line for line in LINES if line.startswith("curl ") and "example.com" not in line]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("line", CURLS)
def test_every_request_works_as_it_stands(mesh: RunningMesh, tmp_path: Path, line: str) -> None:
    (tmp_path / "tests").symlink_to(REPOSITORY / "tests")
    command = line.replace("curl ", "curl -sS --fail-with-body ", 1).replace(
        "http://127.0.0.1:7100", mesh.url
    )
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env={**os.environ, "KEY": mesh.key},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if "/v1/listen" in line:
        assert CLIP_TEXT in done.stdout
    if "/v1/speak" in line:
        assert (tmp_path / "hello.wav").read_bytes()[:4] == b"RIFF"


def test_every_file_it_names_exists() -> None:
    named = re.findall(r"(?:tests|examples|proto|docs)/[\w/.-]+\.\w+", README)
    assert len(named) > 8
    assert [name for name in named if not (REPOSITORY / name).exists()] == []
