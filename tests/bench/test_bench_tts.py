import json

import pytest

from bench.tts import run


def test_the_bench_speaks_and_sums_up(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--no-peers", "--runs", "1", "--callers", "2", "--stream-seconds", "1", "--streams", "2"]
    assert run([*options, "--roundtrip", "0"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0 < result["first_audio_ms_p50"] <= result["sentence_ms_p50"]
    assert result["audio_seconds_per_second_2_callers"] > 0
    assert "first_audio_ms_p95_2_streams" in result
