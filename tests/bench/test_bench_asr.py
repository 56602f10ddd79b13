"""`voxmesh bench asr` runs and ends with its numbers."""

import json

import pytest

from bench.asr import run


def test_a_size_is_measured_without_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--random-weights", "tiny", "--slots", "2", "--runs", "1", "--threads", "1"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["model"] == "tiny"
    assert last["rtfx"] > 0
