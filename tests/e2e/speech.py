"""The recordings end-to-end tests speak with: made by the project's own voice, so everybody has them."""

from pathlib import Path

import av

from tests.conftest import REPOSITORY

CLIPS = REPOSITORY / "tests" / "data" / "clips"
CLIP_TEXT = "The quick brown fox jumps over the lazy dog. Speech stays inside these walls."


def clip() -> Path:
    return CLIPS / "fox.flac"


def pcm16k(path: Path) -> bytes:
    """The recording as mono 16-bit PCM at 16 kHz."""
    with av.open(str(path)) as source:
        resampler = av.AudioResampler("s16", "mono", 16000)
        frames = [piece for frame in source.decode(audio=0) for piece in resampler.resample(frame)]
        frames += resampler.resample(None)
    return b"".join(bytes(frame.planes[0])[: frame.samples * 2] for frame in frames)


def normalise(text: str) -> str:
    """Lower case without punctuation: what was said, not how it was written."""
    return " ".join("".join(c if c.isalnum() or c == "'" else " " for c in text.lower()).split())
