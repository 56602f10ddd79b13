"""Hearing the voices of a running mesh before one is chosen."""

import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np

from tests.e2e.running import RunningMesh

ROOT = Path(__file__).parents[2]


def test_every_voice_says_a_sentence(mesh: RunningMesh, tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "cli", "voices", "--preview", tmp_path, "--state-dir", mesh.state_dir],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert said.returncode == 0, said.stderr
    written = sorted(tmp_path.glob("*.wav"))
    assert written and all(path.stem in said.stdout for path in written)
    for path in written:
        with wave.open(str(path)) as sound:
            pcm = np.frombuffer(sound.readframes(sound.getnframes()), np.int16)
            assert 1 < len(pcm) / sound.getframerate() < 20
        assert np.abs(pcm).max() > 3_000
