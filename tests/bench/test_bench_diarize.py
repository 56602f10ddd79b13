"""The speaker benchmark runs and prints what it promises."""

import json
from pathlib import Path

import pytest

from bench.diarize import run


def test_the_last_line_is_the_report(evaldata: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--data", str(evaldata), "--no-words", "--singles", "4"]) == 0
    report = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert report["recordings"] == 8 and report["singles"] == 4
    assert 0 <= report["confused"] < 0.05 and report["single_split"] == report["single_split_live"] == 0
    assert 0 < report["der"] < 0.3 and report["speakers_right"] >= 3


def test_a_directory_without_recordings_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--data", str(tmp_path)]) == 1
    assert "manifest.jsonl" in capsys.readouterr().err
