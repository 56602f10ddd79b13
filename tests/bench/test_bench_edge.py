import json

import pytest

from bench.edge import run
from bench.edge_standin import CHUNK_BYTES, Listener, Script, finals
from common.pb.voxmesh.asr.v1 import RecognizeRequest, RecognizeResponse


def test_the_bench_streams_and_sums_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--sockets", "20", "--seconds", "6"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["sockets"], result["sockets_broken"], result["finals_missing"]) == (20, 0, 0)
    assert 0 < result["added_latency_ms_p50"] <= result["added_latency_ms_p99"]
    assert abs(result["rss_growth_mb"]) < 50


@pytest.mark.parametrize("in_step", [True, False])
def test_the_script_has_as_many_finals_as_are_waited_for(in_step: bool) -> None:
    script = Script(5, 20, in_step=in_step)
    streams = [Listener(script) for _ in range(33)]
    said = [
        stream.hear(bytes(RecognizeRequest(audio=bytes(CHUNK_BYTES))))
        for stream in streams
        for _ in range(47)
    ]
    events = [RecognizeResponse.parse(event) for chunk in said for event in chunk]
    heard = [event.result for event in events if event.result is not None and event.result.is_final]
    assert len(heard) == finals(33, 47, 20, in_step=in_step)
    assert len({result.end_ms for result in heard}) == (2 if in_step else 47)
