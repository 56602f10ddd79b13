"""The live benchmark runs and prints what it promises."""

import json
from pathlib import Path

import pytest

from bench.asr_stream import run

KEYS = {
    "model", "streams", "first_interim_ms_p50", "first_interim_ms_p95", "commit_ms_p50", "final_ms_p50",
    "final_ms_p95", "wer_stream", "wer_batch", "lag_growth_ms_per_min", "lag_growth_error",
    "unstable_word_ratio", "cpu_cores",
}  # fmt: skip


def test_the_last_line_is_the_report(evaldata: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", "tiny.en", "--streams", "2", "--seconds", "6", "--max-clips", "2"]
    assert run([*arguments, "--clips", str(evaldata)]) == 0
    report = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert set(report) >= KEYS
    assert report["streams"] == 2
    assert report["first_interim_ms_p50"] is not None
    assert 0 <= report["wer_batch"] < 1


def test_a_directory_without_recordings_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--clips", str(tmp_path)]) == 1
    assert "manifest.jsonl" in capsys.readouterr().err
