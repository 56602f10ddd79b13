"""A finished recognition of three words by two speakers."""

from common.pb.voxmesh.asr.v1 import Result, Summary, Word
from edge.listening.requests import ListenOptions, Transcript


def transcript(options: ListenOptions | None = None) -> Transcript:
    """Two finals; the second comes after a pause."""
    words = [
        Word(text="Hello", start_ms=0, end_ms=400, confidence=0.9, speaker=0),
        Word(text="there.", start_ms=400, end_ms=900, confidence=0.8, speaker=0),
        Word(text="Yes.", start_ms=3_000, end_ms=3_400, confidence=0.7, speaker=1),
    ]
    results = [
        Result(is_final=True, text="Hello there.", start_ms=0, end_ms=900, confidence=0.85, language="en", words=words[:2]),
        Result(is_final=True, text="Yes.", start_ms=3_000, end_ms=3_400, confidence=0.7, language="en", words=words[2:]),
    ]  # fmt: skip
    return Transcript(
        request_id="req_1",
        results=results,
        summary=Summary(audio_ms=4_000, language="en", language_confidence=0.9, channels=1, compute_ms=12),
        model="fake-base",
        options=options or ListenOptions(),
        duration_ms=4_000,
        n_bytes=1_234,
        sha256="0" * 64,
    )
