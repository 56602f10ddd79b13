import json

import pytest

from bench.edge import run


def test_the_bench_streams_and_sums_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--sockets", "20", "--seconds", "6"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["sockets"], result["sockets_broken"], result["finals_missing"]) == (20, 0, 0)
    assert 0 < result["added_latency_ms_p50"] <= result["added_latency_ms_p99"]
    assert abs(result["rss_growth_mb"]) < 50
