"""The real client of NVIDIA Riva on the public gRPC port of a real mesh."""

from typing import Any

import pytest

from tests.e2e.running import RunningMesh
from tests.e2e.speech import CLIP_TEXT, clip, normalise, pcm16k

riva = pytest.importorskip("riva.client", reason="the client comes with the extra `clients`")
grpc = pytest.importorskip("grpc")


def auth(mesh: RunningMesh, key: str) -> Any:
    return riva.Auth(uri=mesh.grpc, use_ssl=False, metadata_args=[["authorization", f"Bearer {key}"]])


def config() -> Any:
    return riva.RecognitionConfig(
        encoding=riva.AudioEncoding.LINEAR_PCM,
        sample_rate_hertz=16_000,
        language_code="en-US",
        enable_automatic_punctuation=True,
        enable_word_time_offsets=True,
    )


def test_a_recording(mesh: RunningMesh) -> None:
    settings = config()
    settings.encoding = riva.AudioEncoding.FLAC
    answer = riva.ASRService(auth(mesh, mesh.key)).offline_recognize(clip().read_bytes(), settings)
    assert normalise("".join(one.alternatives[0].transcript for one in answer.results)) == normalise(
        CLIP_TEXT
    )
    words = [word for one in answer.results for word in one.alternatives[0].words]
    assert len(words) == len(CLIP_TEXT.split())
    assert all(before.start_time <= word.start_time for before, word in zip(words, words[1:], strict=False))


def test_a_live_stream(mesh: RunningMesh) -> None:
    pcm = pcm16k(clip())
    wanted = riva.StreamingRecognitionConfig(config=config(), interim_results=True)
    pieces = [pcm[at : at + 3200] for at in range(0, len(pcm), 3200)]
    service = riva.ASRService(auth(mesh, mesh.key))
    results = [
        one for answer in service.streaming_response_generator(pieces, wanted) for one in answer.results
    ]
    heard = "".join(one.alternatives[0].transcript for one in results if one.is_final)
    assert normalise(heard) == normalise(CLIP_TEXT)


def test_speaking(mesh: RunningMesh) -> None:
    service = riva.SpeechSynthesisService(auth(mesh, mesh.key))
    whole = service.synthesize("Speech stays inside these walls.", sample_rate_hz=16_000)
    assert 16_000 < len(whole.audio) // 2 < 64_000
    pieces = list(service.synthesize_online("Speech stays inside these walls.", sample_rate_hz=16_000))
    assert len(pieces) > 1
    assert 16_000 < sum(len(one.audio) for one in pieces) // 2 < 64_000


@pytest.mark.parametrize("key", ["", "wrong"])
def test_without_a_good_key(key: str, mesh: RunningMesh) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        riva.ASRService(auth(mesh, key)).offline_recognize(clip().read_bytes(), config())
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
